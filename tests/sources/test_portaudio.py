import io
import json
import sys
from types import SimpleNamespace

import pytest

from fac_stream.sources import portaudio


class FakeSoundDevice:
    """A PortAudio with two inputs and one output; records a few blocks and then breaks."""

    class PortAudioError(Exception):
        """As sounddevice has it."""

    default = SimpleNamespace(device=(2, 0))

    def __init__(self, blocks=()):
        self.blocks = list(blocks)
        self.opened = None

    def query_hostapis(self):
        """One host API."""
        return [{"name": "ALSA"}]

    def query_devices(self):
        """An output, and two inputs."""
        return [
            {"name": name, "hostapi": 0, "default_samplerate": rate, "max_input_channels": channels}
            for name, rate, channels in (
                ("Speakers", 48000.0, 0),
                ("Webcam", 16000.0, 1),
                ("Headset", 44100.0, 2),
            )
        ]

    def RawInputStream(self, **options):  # noqa: N802 - sounddevice's name
        """A stream that is its own context manager."""
        self.opened = options
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, frames):
        """The next block, or the end of the device."""
        if not self.blocks:
            raise self.PortAudioError("Device unavailable")
        return self.blocks.pop(0)


@pytest.fixture
def sounddevice(monkeypatch):
    """``sounddevice(fake)`` is what the program imports from now on."""
    return lambda fake: monkeypatch.setitem(sys.modules, "sounddevice", fake)


@pytest.fixture
def program(monkeypatch):
    """``program(*arguments)`` → status, stdout, stderr; both as bytes."""

    def run(*arguments):
        out, errors = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", errors)
        status = portaudio.main(list(arguments))
        for stream in (out, errors):
            stream.flush()
        return status, out.buffer.getvalue(), errors.buffer.getvalue()

    return run


def test_inputs_are_listed_and_outputs_are_not(program, sounddevice):
    """Names carry their host API, as the same device appears under several."""
    sounddevice(FakeSoundDevice())

    status, out, _ = program("list")

    assert status == 0
    assert [(entry["name"], entry["sample_rate"], entry["default"]) for entry in json.loads(out)] == [
        ("Webcam, ALSA", 16000, False),
        ("Headset, ALSA", 44100, True),
    ]


def test_a_device_is_recorded_at_its_own_rate(program, sounddevice):
    """What PortAudio reads goes out unchanged; lost sound and the end are told."""
    fake = FakeSoundDevice([(b"one.", False), (b"two.", True), (b"three.", False)])

    sounddevice(fake)

    status, out, errors = program("record", "Headset, ALSA")

    assert out == b"one.two.three."
    assert errors == b"overflow\nPortAudio: Device unavailable\n"
    assert status == 1
    assert fake.opened == {"device": 2, "samplerate": 44100, "channels": 1, "dtype": "int16", "latency": 0.1}


@pytest.mark.parametrize("arguments", [("record", "Speakers, ALSA"), ("record", ""), ("record",), ()])
def test_what_cannot_be_done_is_told(program, sounddevice, arguments):
    """One line on standard error, and a status."""
    sounddevice(FakeSoundDevice())

    status, out, errors = program(*arguments)

    assert (status, out) == (1, b"")
    assert errors.count(b"\n") == 1


def test_a_missing_package_names_its_extra(program, sounddevice):
    """``pip install`` stands in the message."""
    sounddevice(None)

    status, _, errors = program("list")

    assert status == 1
    assert b"pip install 'fac-stream[mic]'" in errors


def test_a_missing_library_names_its_package(program, monkeypatch, tmp_path):
    """``apt-get install`` stands in the message."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)

    status, _, errors = program("list")

    assert status == 1
    assert b"sudo apt-get install libportaudio2" in errors
