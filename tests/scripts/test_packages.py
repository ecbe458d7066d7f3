import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "packages.sh"

DPKG_QUERY = """#!/bin/sh
for package; do :; done
grep -qx "$package" "$MACHINE/installed" && echo "install ok installed"
"""
APT_GET = """#!/bin/sh
echo "$*" >>"$MACHINE/calls"
case $* in
    *update*) touch "$MACHINE/updated"; exit 0 ;;
    *no-such*) echo "E: Unable to locate package no-such" >&2; exit 100 ;;
esac
[ -e "$MACHINE/updated" ] || exit 100
for package; do :; done
echo "$package" >>"$MACHINE/installed"
"""


class Machine:
    """A Debian whose package tools are these scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "installed").write_text("")
        (folder / "calls").write_text("")
        self.program("dpkg-query", DPKG_QUERY)
        self.program("apt-get", APT_GET)
        self.user(0)

    def program(self, name: str, source: str) -> None:
        """Put a program first on the path."""
        path = self.folder / "bin" / name
        path.write_text(source)
        path.chmod(0o755)

    def user(self, number: int, *, sudo: str = "exit 1") -> None:
        """Be this user; ``sudo`` is the body of the program."""
        self.program("id", f"#!/bin/sh\necho {number}\n")
        self.program("sudo", f"#!/bin/sh\n{sudo}\n")

    def want(self, *packages: str) -> str:
        """Run the script; what it said."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        run = subprocess.run(
            [SCRIPT, "the microphone", *packages],
            env={"PATH": path, "MACHINE": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return run.stdout

    @property
    def installed(self) -> list[str]:
        """Packages, in the order they came."""
        return (self.folder / "installed").read_text().split()

    @property
    def calls(self) -> list[str]:
        """Arguments of each ``apt-get``."""
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path):
    """A Debian with root and no packages."""
    return Machine(tmp_path)


def test_does_nothing_where_nothing_is_missing(machine):
    """What is installed is neither asked for nor spoken of."""
    (machine.folder / "installed").write_text("libportaudio2\n")

    assert machine.want("libportaudio2") == ""
    assert machine.calls == []


def test_fetches_the_lists_of_a_new_machine(machine):
    """Root on a machine that never fetched package lists gets the package all the same."""
    said = machine.want("libportaudio2")

    assert machine.installed == ["libportaudio2"]
    assert "Going on" not in said


def test_one_unknown_package_keeps_no_other_away(machine):
    """What the release has is installed; what it has not is named."""
    said = machine.want("espeak-ng", "no-such", "ffmpeg")

    assert machine.installed == ["espeak-ng", "ffmpeg"]
    assert "sudo apt-get install no-such" in said


def test_goes_on_where_root_is_refused(machine):
    """Without root, and with nobody to ask for a password, it says what is missing and how to get it."""
    machine.user(1000)

    said = machine.want("libportaudio2")

    assert machine.calls == []
    assert "Going on without the microphone" in said
    assert "sudo apt-get install libportaudio2" in said


def test_uses_a_sudo_that_asks_no_password(machine):
    """A sudo that needs no password is used, also where nobody watches."""
    machine.user(1000, sudo='[ "$1" = -n ] && exit 0; exec "$@"')

    machine.want("libportaudio2")

    assert machine.installed == ["libportaudio2"]
