#!/bin/sh
# Makes .venv and installs FAC Stream into it with the extras named.
#   scripts/setup.sh mic,gpu
# Run again, it adds what is missing. PYTHON names the interpreter; otherwise the first that is new enough.
set -eu
cd "$(dirname "$0")/.."
extras=$1

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    for candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "FAC Stream needs Python 3.11 or newer; none found${PYTHON:+ as $PYTHON}. Try: make run PYTHON=/path/to/python3" >&2
    return 1
}

can_make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

# Debian keeps pip's bundle in a package of its own, which anybody may download, though not install.
pip_from_debian() {
    folder=$(mktemp -d)
    if (cd "$folder" && apt-get -q download python3-pip-whl && dpkg-deb -x ./*.deb .) >/dev/null 2>&1; then
        wheel=$(echo "$folder"/usr/share/python-wheels/pip-*.whl)
        .venv/bin/python "$wheel/pip" install -q --no-index "$wheel" || true
    fi
    rm -rf "$folder"
}

make_venv() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    can_make_venv || scripts/packages.sh "the bundle of pip that Debian keeps apart" "python$version-venv"
    echo "==> Making .venv with $python ($version)"
    if can_make_venv; then
        "$python" -m venv --clear .venv
        return
    fi
    "$python" -m venv --clear --without-pip .venv
    "$python" -m pip --python .venv/bin/python install -q pip 2>/dev/null || pip_from_debian
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "$python can make no environment with pip. On Debian or Ubuntu: sudo apt-get install python$version-venv" >&2
        return 1
    fi
}

case ",$extras," in
    *,dev,*) scripts/packages.sh "some of the tests" \
        libportaudio2 alsa-utils asterisk-core-sounds-en-wav espeak-ng pulseaudio pulseaudio-utils ffmpeg \
        chromium libatomic1 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        python3-gi gstreamer1.0-tools gstreamer1.0-libav baresip-core sip-tester icecast2 ;;
    *,mic,*) scripts/packages.sh "the microphone" libportaudio2 ;;
esac
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    make_venv
fi
echo "==> Installing FAC Stream into .venv${extras:+ with $extras}"
[ -t 1 ] || export PIP_QUIET=1
.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
.venv/bin/python scripts/fix_torchaudio.py
case ",$extras," in
    # Peers that somebody else wrote; their tests say so where they are missing.
    *,dev,*) command -v npm >/dev/null && npm ci --silent --no-audit --no-fund --prefix tests/peers/node || true ;;
esac
