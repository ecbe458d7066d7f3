#!/bin/sh
# Installs Debian packages where that is possible, and goes on with a word where it is not.
#   scripts/packages.sh "the microphone" libportaudio2
# Root is used directly, sudo only where it asks no password or somebody is there to type one.
set -eu
purpose=$1
shift

missing() {
    for package; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            *" installed") ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

# Prints the command that gives root: empty for root itself. Fails where there is none.
root_command() {
    if [ "$(id -u)" = 0 ]; then
        return 0
    fi
    command -v sudo >/dev/null || return 1
    if ! sudo -n true 2>/dev/null; then
        { [ -t 0 ] && [ -z "${CI:-}" ]; } || return 1
        sudo -p "Installing $wanted for $purpose. Password of %p: " true || return 1
    fi
    echo sudo
}

apt() {
    # What it does fills screens; what goes wrong comes on standard error.
    $root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}

if ! command -v apt-get >/dev/null; then
    echo "==> Neither Debian nor Ubuntu: for $purpose, install the counterparts of: $*"
    exit 0
fi
wanted=$(missing "$@")
wanted=${wanted% }
[ -n "$wanted" ] || exit 0
if root=$(root_command); then
    echo "==> Installing for $purpose: $wanted"
    # The lists of a new machine are empty or old: only then is fetching them worth the time. One package at a
    # time after that, so that one this release does not have keeps none of the others away.
    # shellcheck disable=SC2086  # a list of words
    if ! apt install --no-install-recommends $wanted 2>/dev/null; then
        apt update || true
        for package in $wanted; do
            apt install --no-install-recommends "$package" || true
        done
    fi
    wanted=$(missing "$@")
    [ -n "$wanted" ] || exit 0
fi
echo "==> Going on without $purpose. To have it: sudo apt-get install $wanted"
