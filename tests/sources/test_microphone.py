import asyncio
import sys
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from fac_stream import config
from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import SourceError
from fac_stream.sources import microphone
from fac_stream.sources.devices import Device, Devices, list_devices
from fac_stream.sources.microphone import STDERR, STDOUT, MicrophoneSource, Recorder
from tests.pulse import MICROPHONE, RATE, SINK

FORMAT = AudioFormat(8000, Encoding.PCM_S16LE, ("mixed",))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """``run(coroutine)`` in either loop: children are not handled alike by Python's and the daemon's."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


class Taken:
    """In place of a queue: keeps what is put into it."""

    def __init__(self):
        self.frames = []
        self.error = None

    def put_nowait(self, frame):
        """Keep a frame."""
        self.frames.append(frame)

    def close(self, error=None):
        """Keep the error."""
        self.error = error


class Clock:
    """Time that passes only when told to."""

    now = 100.0

    def __call__(self):
        """The time that was set."""
        return self.now


def recorder():
    """A recorder, what it puts out, and its clock."""
    taken, clock = Taken(), Clock()
    return Recorder(taken, FORMAT, "mic", clock), taken, clock


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=20))
def test_any_split_of_the_bytes_gives_the_same_samples(data, cuts):
    """A pipe may break a sample in two; an odd byte at the end belongs to no sample."""
    recording, taken, _ = recorder()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    for first, last in pairwise(edges):
        recording.pipe_data_received(STDOUT, data[first:last])

    assert b"".join(frame.data for frame in taken.frames) == data[: len(data) // 2 * 2]
    position = 0
    for frame in taken.frames:
        assert frame.start_sample == position
        position += len(frame.data) // 2


@pytest.mark.parametrize("split", [1, 4, 9])
def test_lost_sound_leaves_a_gap_as_long_as_the_clock_says(split):
    """What the device dropped shows in the sample count, however the message arrives."""
    recording, taken, clock = recorder()
    recording.pipe_data_received(STDOUT, bytes(2 * 160))
    clock.now += 0.5
    recording.pipe_data_received(STDERR, b"overflow\n"[:split])
    recording.pipe_data_received(STDERR, b"overflow\n"[split:])
    recording.pipe_data_received(STDOUT, bytes(2 * 160))

    assert [frame.start_sample for frame in taken.frames] == [0, 160 + 4000]


def test_the_shortest_loss_is_a_gap():
    """No window may cross lost sound, even where the clock saw no time pass."""
    recording, taken, _ = recorder()
    recording.pipe_data_received(STDERR, b"overflow\n")
    for _ in range(2):
        recording.pipe_data_received(STDOUT, bytes(2 * 160))
        recording.pipe_data_received(STDERR, b"overflow\noverflow\n")
    recording.pipe_data_received(STDOUT, bytes(2 * 160))

    assert [frame.start_sample for frame in taken.frames] == [1, 163, 325]


@given(st.lists(st.binary(max_size=8000), max_size=5))
def test_complaints_stay_bounded(complaints):
    """A driver that chatters for days fills no memory."""
    recording, taken, _ = recorder()
    for complaint in complaints:
        recording.pipe_data_received(STDERR, complaint)
    recording.connection_lost(None)

    assert len(recording._complaint) <= microphone.MAX_COMPLAINT_BYTES
    assert str(taken.error).startswith("'mic' cannot be recorded: ")


@pytest.fixture
def record(monkeypatch):
    """``record(code)``: a source whose recording program is this Python code."""
    known = Devices([Device("mic", "", "pulse", 8000, 1, monitor=False, default=True)], [])
    monkeypatch.setattr(microphone, "list_devices", lambda: known)

    def make(*command):
        monkeypatch.setattr(microphone, "record_command", lambda device: command)
        return MicrophoneSource(config.MicrophoneSource(type="microphone", leg="agent"))

    return make


async def collect(source, count=None):
    """All frames, or so many samples."""
    data = b""
    async with asyncio.timeout(60), aclosing(source.frames()) as frames:
        async for frame in frames:
            data += frame.data
            if count is not None and len(data) >= 2 * count:
                break
    return data


WRITE = "import sys; sys.stdout.buffer.write(bytes(range(200)) * 8); sys.stdout.flush(); "


def test_what_the_program_writes_is_the_sound(run, record):
    """Bytes go through unchanged, at the device's rate and on the configured leg."""
    source = record(sys.executable, "-c", WRITE + "sys.stdin.read()")

    assert source.format == AudioFormat(8000, Encoding.PCM_S16LE, ("agent",))
    assert source.metadata == {"device": "mic"}
    with pytest.raises(SourceError):
        run(collect(source))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('ALSA chatter\\nDevice or resource busy')", "'mic' cannot be .* busy"),
        (WRITE + "sys.exit('unplugged')", "'mic' cannot be recorded: unplugged"),
        ("pass", "'mic' cannot be recorded: the recording program ended"),
    ],
)
def test_a_program_that_ends_is_a_lost_device(run, record, code, message):
    """Microphones do not end by themselves; the reason is what the program said last."""
    with pytest.raises(SourceError, match=message):
        run(collect(record(sys.executable, "-c", code)))


def test_a_silent_program_is_a_lost_device(run, record, monkeypatch):
    """A device that sends nothing at all hangs; silence would be samples of value zero."""
    monkeypatch.setattr(microphone, "STALL_S", 0.2)

    with pytest.raises(SourceError, match=r"no sound came from 'mic' for 0\.2 s"):
        run(collect(record(sys.executable, "-c", "import time; time.sleep(60)")))


def test_a_program_that_cannot_be_started_is_told(run, record):
    """The message names the program."""
    with pytest.raises(SourceError, match="cannot start 'no-such-program' to record 'mic'"):
        run(collect(record("no-such-program")))


def test_leaving_ends_the_program(run, record, monkeypatch):
    """Nothing records after the call, not even a program that ignores being asked."""
    ended = []
    lost = Recorder.connection_lost

    def connection_lost(self, exc):
        lost(self, exc)
        ended.append(self)

    monkeypatch.setattr(Recorder, "connection_lost", connection_lost)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WRITE + "time.sleep(600)"

    assert run(collect(record(sys.executable, "-c", code), 800)) == bytes(range(200)) * 8
    assert len(ended) == 1


def tone(hertz, seconds=120):
    """A sine, float ``[n]`` at the server's rate."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(seconds * RATE) / RATE)


async def heard(source, hertz):
    """Read until half a second sounds mostly at this frequency; fails after a minute."""
    size = source.format.sample_rate // 2
    data = b""
    async with asyncio.timeout(60), aclosing(source.frames()) as frames:
        async for frame in frames:
            data = (data + frame.data)[-2 * size :]
            samples = decode(data[: len(data) // 2 * 2], source.format.encoding, 1)[:, 0]
            if len(samples) < size or np.abs(samples).max() < 0.1:
                continue
            spectrum = np.abs(np.fft.rfft(samples * np.hanning(size)))
            peak = spectrum.argmax() * source.format.sample_rate / size
            if abs(peak - hertz) <= 4 and spectrum.max() ** 2 > 0.2 * np.sum(spectrum**2):
                return
    pytest.fail("the recording ended without the tone")


@pytest.mark.audio_device
def test_the_monitor_of_a_sink_is_recorded(run, pulse):
    """What the speakers play can be listened to: the other side of a softphone's call."""
    with pulse.playing(tone(1234)):
        source = MicrophoneSource(config.MicrophoneSource(type="microphone", device=f"{SINK}.monitor"))
        assert source.device.monitor
        assert source.format.sample_rate == RATE
        run(heard(source, 1234))


@pytest.mark.audio_device
def test_portaudio_records_as_well(run, pulse, monkeypatch):
    """The PortAudio program hears the same monitor through ALSA's pulse plugin."""
    monkeypatch.setenv("PULSE_SOURCE", f"{SINK}.monitor")
    names = [device.name for device in list_devices().found]
    if "pulse, ALSA" not in names:
        pytest.skip(f"PortAudio shows no pulse device (libasound2-plugins, sounddevice); only {names}")
    with pulse.playing(tone(777)):
        source = MicrophoneSource(config.MicrophoneSource(type="microphone", device="pulse, ALSA"))
        assert source.device.backend == "portaudio"
        run(heard(source, 777))


@pytest.mark.audio_device
def test_the_default_is_the_microphone_and_its_silence_is_sound(run, pulse):
    """The default source may be a monitor; the microphone is taken, and digital silence is samples."""
    source = MicrophoneSource(config.MicrophoneSource(type="microphone"))

    assert source.device.name == MICROPHONE
    assert source.device.description == "Silent microphone"
    assert set(run(collect(source, RATE // 4))) == {0}


@pytest.mark.audio_device
def test_a_server_that_dies_is_a_lost_device(run, pulse):
    """The daemon hears of it and can try again."""
    source = MicrophoneSource(config.MicrophoneSource(type="microphone", device=f"{SINK}.monitor"))

    async def record_until_lost():
        async with asyncio.timeout(60), aclosing(source.frames()) as frames:
            await anext(frames)
            pulse.process.kill()
            async for _ in frames:
                pass

    with pytest.raises(SourceError, match=SINK):
        run(record_until_lost())
