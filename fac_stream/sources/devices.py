"""What this machine can record: sources of a PulseAudio or PipeWire server, and inputs of PortAudio.

Both are asked through child processes with a deadline (``pactl`` and ``fac_stream.sources.portaudio``), so
the answer is always fresh and a hanging sound driver cannot hang the daemon.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fac_stream.errors import SourceError
from fac_stream.sources import portaudio

DEADLINE_S = 10.0
MAX_DEVICES = 256

Backend = Literal["pulse", "portaudio"]


@dataclass(frozen=True, slots=True)
class Device:
    """Something that can be recorded."""

    name: str
    """What ``device:`` in the configuration takes; a part of it is enough where only one device has it."""
    description: str
    backend: Backend
    sample_rate: int
    """Hertz."""
    channels: int
    monitor: bool
    """Whether it is what a loudspeaker plays, rather than a microphone."""
    default: bool


@dataclass(frozen=True, slots=True)
class Devices:
    """All devices, and in words why a backend has none."""

    found: Sequence[Device]
    problems: Sequence[str]

    def choose(self, wanted: str | None) -> Device:
        """The device with this name; without a name the default microphone.

        A whole name wins; otherwise part of a name or description, in any case, that fits one device only.
        The server's devices come before PortAudio's, which show the same hardware a second time.

        Raises:
            SourceError: none fits, or several do.
        """
        if wanted is None:
            return self._default()
        for device in self.found:
            if device.name == wanted:
                return device
        text = wanted.casefold()
        fits = [d for d in self.found if text in d.name.casefold() or text in d.description.casefold()]
        fits = [d for d in fits if d.backend == fits[0].backend]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise SourceError(f"several devices fit {wanted!r}: {_names(fits)}; give more of the name")
        raise SourceError(f"no sound device fits {wanted!r}; there are: {_names(self.found)}{self._why()}")

    def _default(self) -> Device:
        # PortAudio's default leads to the server where one runs, so the server has the say.
        candidates = [device for device in self.found if device.backend == self.found[0].backend]
        microphones = [device for device in candidates if not device.monitor]
        for device in microphones:
            if device.default:
                return device
        if microphones:
            return microphones[0]
        monitors = f"; only monitors of speakers: {_names(candidates)}" if candidates else ""
        raise SourceError(f"no microphone found{monitors}{self._why()}")

    def _why(self) -> str:
        return "".join(f"; {problem}" for problem in self.problems)


def list_devices() -> Devices:
    """Ask both backends; blocks for at most twice ``DEADLINE_S``."""
    found: list[Device] = []
    problems: list[str] = []
    for ask in (pulse_sources, portaudio_inputs):
        try:
            found += ask()
        except SourceError as error:
            problems.append(str(error))
    return Devices(found[:MAX_DEVICES], problems)


def pulse_sources() -> list[Device]:
    """Sources of the PulseAudio or PipeWire server; none where this machine has no such server.

    Raises:
        SourceError: there is a server, and it does not answer.
    """
    try:
        default = _field(_run("pactl", "info"), "Default Source")
        return parse_pulse(_run("pactl", "list", "sources"), default)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []


def portaudio_inputs() -> list[Device]:
    """Inputs that PortAudio knows.

    Raises:
        SourceError: PortAudio or its Python package is not installed, or does not answer.
    """
    try:
        listing = _run(*portaudio_command("list"))
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"PortAudio ended with status {error.returncode}"]
        raise SourceError(lines[-1]) from None
    try:
        return _parse_portaudio(listing)
    except (ValueError, LookupError, TypeError) as error:
        raise SourceError(f"PortAudio's list of devices cannot be read: {error}") from None


def _parse_portaudio(listing: str) -> list[Device]:
    """Read what the PortAudio program prints last; drivers may print before it."""
    return [
        Device(
            name=entry["name"],
            description="",
            backend="portaudio",
            sample_rate=entry["sample_rate"],
            channels=entry["channels"],
            monitor="monitor" in entry["name"].casefold(),
            default=entry["default"],
        )
        for entry in json.loads(listing.strip().splitlines()[-1])
    ]


def portaudio_command(*arguments: str) -> tuple[str, ...]:
    """How the PortAudio program is started, with this Python; ``-P``: its folder has a ``queue.py``, too."""
    return (sys.executable, "-P", portaudio.__file__, *arguments)


def parse_pulse(listing: str, default: str | None) -> list[Device]:
    """Read what ``pactl list sources`` prints in the C locale; entries without a rate are left out."""
    devices = []
    for entry in listing.split("Source #")[1:]:
        name = _field(entry, "Name")
        specification = (_field(entry, "Sample Specification") or "").split()
        if name is None or len(specification) != 3:
            continue
        _, channels, rate = specification
        if not (channels.removesuffix("ch").isdecimal() and rate.removesuffix("Hz").isdecimal()):
            continue
        devices.append(
            Device(
                name=name,
                description=_field(entry, "Description") or "",
                backend="pulse",
                sample_rate=int(rate.removesuffix("Hz")),
                channels=int(channels.removesuffix("ch")),
                monitor=_field(entry, "Monitor of Sink") not in (None, "n/a"),
                default=name == default,
            )
        )
    return devices


def _field(text: str, key: str) -> str | None:
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix(f"{key}:").strip() for line in lines if line.startswith(f"{key}:")), None)


def _names(devices: Sequence[Device]) -> str:
    return ", ".join(repr(device.name) for device in devices) or "none"


def _run(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell
            command,
            check=True,
            capture_output=True,
            timeout=DEADLINE_S,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise SourceError(f"the sound system did not answer {command[0]!r} within {DEADLINE_S:g} s") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(f"{command[0]!r} cannot be run: {error.strerror or error}") from None
    return done.stdout
