import asyncio
import os
import threading
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream import config
from fac_stream.audio.codecs import decode
from fac_stream.errors import DecodeError, SourceError
from fac_stream.sources import file as file_module
from fac_stream.sources.file import FileSource


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.lag = 0.0
        """How much later than asked every sleeper wakes."""

    def monotonic(self):
        """In place of ``time.monotonic``."""
        return self.now

    async def sleep(self, delay):
        """In place of ``asyncio.sleep``."""
        await asyncio.sleep(0)
        if delay > 0:
            self.now += delay + self.lag


@pytest.fixture
def clock(monkeypatch):
    """The source's clock, turned by hand."""
    clock = Clock()

    class Loop:
        sleep = clock.sleep
        timeout = asyncio.timeout
        get_running_loop = asyncio.get_running_loop

    monkeypatch.setattr(file_module, "time", clock)
    monkeypatch.setattr(file_module, "asyncio", Loop)
    return clock


@pytest.fixture
def recording(tmp_path):
    """``recording(channels, seconds, rate)``: path and samples ``[n, channels]`` of a new WAV."""

    def make(channels=1, seconds=0.3, rate=8000):
        count = round(seconds * rate) * channels
        samples = (np.arange(count) % 30_000 - 15_000).astype(np.int16).reshape(-1, channels)
        path = tmp_path / f"{channels}-{rate}.wav"
        soundfile.write(path, samples, rate)
        return path, samples.astype(np.float32) / 32768

    return make


def options(path, **changes):
    """A file source's section of the configuration."""
    return config.FileSource(type="file", path=path, **changes)


async def collect(source, seconds=None):
    """Frames up to ``seconds`` of sound, or all."""
    frames = []
    limit = float("inf") if seconds is None else seconds * source.format.sample_rate
    async with asyncio.timeout(30), aclosing(source.frames()) as stream:
        async for frame in stream:
            frames.append(frame)
            if frame.start_sample + len(frame.data) // source.format.frame_width >= limit:
                break
    return frames


def samples_of(source, frames):
    """What the frames carry, ``[n, channels]``; asserts that there is no gap."""
    position = 0
    for frame in frames:
        assert frame.start_sample == position
        position += len(frame.data) // source.format.frame_width
    return decode(b"".join(frame.data for frame in frames), source.format.encoding, len(source.format.legs))


@pytest.mark.parametrize("pace", ["fast", "realtime"])
@pytest.mark.parametrize(
    ("channels", "legs"), [(1, ("mixed",)), (2, ("caller", "agent")), (3, ("ch1", "ch2", "ch3"))]
)
async def test_every_sample_comes_once(recording, clock, pace, channels, legs):
    """The frames carry the file's samples in order, one leg a channel."""
    path, samples = recording(channels)
    source = FileSource(options(path, pace=pace))

    frames = await collect(source)

    assert source.format.legs == legs
    np.testing.assert_array_equal(samples_of(source, frames), samples)


async def test_real_time_follows_the_sample_clock_without_drift(recording, clock):
    """Each frame is due when its last sample was spoken; late wake-ups do not add up."""
    path, _ = recording(seconds=2.5)
    clock.lag = 0.004
    source = FileSource(options(path))

    frames = await collect(source)

    for frame in frames:
        spoken_s = (frame.start_sample + len(frame.data) // 4) / 8000
        assert spoken_s <= frame.received_at - 1000.0 + 1e-9
        assert frame.received_at - 1000.0 <= spoken_s + clock.lag + 1e-9
    assert max(len(frame.data) for frame in frames) == 160 * 4
    assert source.live


async def test_fast_does_not_wait_for_time(recording, clock):
    """A fast file takes no time but what its reader takes."""
    path, samples = recording(seconds=2.5)
    source = FileSource(options(path, pace="fast"))

    assert len(samples_of(source, await collect(source))) == len(samples)
    assert clock.now == 1000.0
    assert not source.live


async def test_a_fast_reader_is_held_back(recording, monkeypatch):
    """No more is decoded than is taken, but for the block in hand."""
    path, _ = recording(seconds=30)
    taken = []
    passes = FileSource._passes

    def counted(self):
        for block in passes(self):
            taken.append(block)
            yield block

    monkeypatch.setattr(FileSource, "_passes", counted)
    source = FileSource(options(path, pace="fast"))
    async with aclosing(source.frames()) as stream:
        await anext(stream)
        await anext(stream)

    assert len(taken) == 2


async def test_repeat_goes_on_without_a_gap(recording, clock):
    """The second pass follows the first sample by sample."""
    path, samples = recording(seconds=0.3)
    source = FileSource(options(path, repeat=True))

    frames = await collect(source, seconds=1.0)

    expected = np.resize(samples, (8000, 1))
    np.testing.assert_array_equal(samples_of(source, frames), expected)


async def test_leaving_early_closes_the_file_and_its_thread(recording):
    """A call that is ended leaves nothing behind."""
    path, _ = recording(seconds=30)
    source = FileSource(options(path, pace="fast"))

    async with aclosing(source.frames()) as stream:
        await anext(stream)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("file-source")]
        assert len(threads) == 1
    threads[0].join(20)

    assert not threads[0].is_alive()


async def test_a_cancelled_reader_waits_for_nobody(recording, clock):
    """Cancelling while the source sleeps ends it at once."""
    path, _ = recording(seconds=30)
    source = FileSource(options(path))
    asleep, forever = asyncio.Event(), asyncio.Event()

    async def sleep(delay):
        asleep.set()
        await forever.wait()

    clock.sleep = file_module.asyncio.sleep = sleep
    task = asyncio.create_task(collect(source))
    await asleep.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_names_of_legs_must_fit(recording):
    """Names for other channels than the file has are a mistake that is told."""
    path, _ = recording(channels=2)

    assert FileSource(options(path, legs=["left", "right"])).format.legs == ("left", "right")
    with pytest.raises(SourceError, match="2 channels, but legs has 1 names: mixed"):
        FileSource(options(path, legs=["mixed"]))


def test_what_is_no_recording_is_refused_at_once(tmp_path):
    """A missing or damaged file is told before the call starts."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\x00\x00")

    for path in (tmp_path / "none.wav", broken, tmp_path):
        with pytest.raises(DecodeError, match=path.name):
            FileSource(options(path))


def test_a_pipe_is_no_recording(tmp_path):
    """Opening one would wait for its writer, for ever."""
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(DecodeError, match="no regular file"):
            FileSource(config.FileSource(type="file", path=path))


async def test_a_file_replaced_by_another_format_is_told(recording):
    """Samples at another rate never pass for samples at the first."""
    path, _ = recording(rate=8000)
    source = FileSource(options(path))
    soundfile.write(path, np.zeros((800, 2)), 16_000)

    with pytest.raises(SourceError, match="replaced by a file of another format"):
        await collect(source)


async def test_a_disk_that_hangs_is_told(recording, monkeypatch):
    """A read that never comes back ends the source, not the daemon."""
    path, _ = recording()
    hanging = threading.Event()

    def passes(self):
        hanging.wait(30)
        yield np.zeros((1, 1), np.float32)

    monkeypatch.setattr(FileSource, "_passes", passes)
    monkeypatch.setattr(file_module, "DECODE_TIMEOUT_S", 0.05)
    source = FileSource(options(path))
    try:
        with pytest.raises(SourceError, match="its disk gave nothing"):
            await collect(source)
    finally:
        hanging.set()


def test_two_sources_of_one_file_are_two_calls(recording):
    """Without a call id each gets its own; a given one is kept."""
    path, _ = recording()

    assert FileSource(options(path)).call_id != FileSource(options(path)).call_id
    assert FileSource(options(path, call_id="demo")).call_id == "demo"
    assert FileSource(options(path)).metadata == {"file": path.name}


@settings(max_examples=20, deadline=None)
@given(st.integers(4000, 48_000), st.integers(1, 4), st.integers(1, 5000))
def test_any_rate_and_length_is_conserved(tmp_path_factory, rate, channels, count):
    """Samples in are samples out, at every rate."""
    path = tmp_path_factory.mktemp("rates") / "a.wav"
    soundfile.write(path, np.zeros((count, channels), np.int16), rate)
    source = FileSource(options(path, pace="fast"))

    frames = asyncio.run(collect(source))

    assert source.format.sample_rate == rate
    assert samples_of(source, frames).shape == (count, channels)
