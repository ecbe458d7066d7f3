"""The one file that touches PortAudio: a small program of its own, started as a child process.

PortAudio never looks at the devices again after its first look, and some drivers hang in it for ever. A child
sees the devices as they are now, and can be killed without taking the daemon along.

::

    portaudio.py list          one JSON list of inputs on stdout
    portaudio.py record NAME   pcm_s16le of one channel on stdout, until killed;
                               a line "overflow" on stderr where sound was lost
"""

import json
import sys
from typing import Any

BLOCK_S = 0.02
LATENCY_S = 0.1
"""How far the reader may fall behind before PortAudio drops sound."""
OVERFLOW = b"overflow\n"

NO_SOUNDDEVICE = "sounddevice is not installed: pip install 'fac-stream[mic]'"
NO_PORTAUDIO = (
    "PortAudio is not installed: sudo apt-get install libportaudio2 (macOS: brew install portaudio; "
    "Fedora: sudo dnf install portaudio)"
)


def main(arguments: list[str]) -> int:
    """Run the program; a reason on stderr and 1 where it cannot."""
    try:
        import sounddevice  # noqa: PLC0415 - optional, and it opens every sound driver on import
    except ModuleNotFoundError:
        return _complain(NO_SOUNDDEVICE)
    except OSError:
        return _complain(NO_PORTAUDIO)
    try:
        if arguments == ["list"]:
            sys.stdout.write(json.dumps(_inputs(sounddevice)) + "\n")
        elif len(arguments) == 2 and arguments[0] == "record":
            _record(sounddevice, arguments[1])
        else:
            return _complain("usage: portaudio.py list | record NAME")
    except (sounddevice.PortAudioError, ValueError) as error:
        return _complain(f"PortAudio: {error}")
    except BrokenPipeError:  # the daemon has what it wanted
        return 0
    return 0


def _complain(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


def _inputs(sounddevice: Any) -> list[dict[str, Any]]:
    apis = [api["name"] for api in sounddevice.query_hostapis()]
    default = sounddevice.default.device[0]
    return [
        {
            "index": index,
            "name": f"{device['name']}, {apis[device['hostapi']]}",
            "sample_rate": round(device["default_samplerate"]),
            "channels": device["max_input_channels"],
            "default": index == default,
        }
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def _record(sounddevice: Any, name: str) -> None:
    device = next((entry for entry in _inputs(sounddevice) if entry["name"] == name), None)
    if device is None:
        raise ValueError(f"no input named {name!r}")
    rate = device["sample_rate"]
    with sounddevice.RawInputStream(
        device=device["index"], samplerate=rate, channels=1, dtype="int16", latency=LATENCY_S
    ) as stream:
        while True:
            # While the daemon does not read, the write below blocks; PortAudio then drops sound and says so.
            block, overflowed = stream.read(round(rate * BLOCK_S))
            if overflowed:
                sys.stderr.buffer.write(OVERFLOW)
                sys.stderr.buffer.flush()
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
