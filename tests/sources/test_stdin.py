import asyncio
import os
from contextlib import aclosing
from types import SimpleNamespace

import numpy as np
import pytest

from fac_stream import config
from fac_stream.commands.run import run
from fac_stream.config_systems import StdinSource as Options
from fac_stream.errors import ConfigError, ProtocolError, SourceError
from fac_stream.sources.stdin import StdinSource


@pytest.fixture
def pipe():
    """Both ends of a pipe; the writer's is the test's to close."""
    read, write = os.pipe()
    yield read, write
    os.close(read)


async def heard(file, **options):
    """All frames of a source that reads this descriptor."""
    source = StdinSource(Options(type="stdin", **options), config.Ingest(), file=file)
    async with asyncio.timeout(60), aclosing(source.frames()) as frames:
        return [frame async for frame in frames]


def write_all(file, data, size):
    """Write in pieces of ``size`` bytes, then close."""
    with os.fdopen(file, "wb", buffering=0) as end:
        for first in range(0, len(data), size):
            end.write(data[first : first + size])


@pytest.mark.parametrize("size", [1, 3, 320, 100_000])
async def test_every_sample_comes_out_however_the_pipe_cuts(pipe, size):
    """Sizes of writes make no difference, and the end of the pipe is the end of the call."""
    data = np.arange(2000 if size < 320 else 100_000).astype("<i2").tobytes()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(write_all, pipe[1], data, size))
        frames = await heard(pipe[0])

    assert b"".join(frame.data for frame in frames) == data
    assert frames[0].start_sample == 0


async def test_an_empty_pipe_is_a_call_without_audio(pipe):
    """Closed before anything came: the call ends at once, in peace."""
    os.close(pipe[1])

    assert await heard(pipe[0]) == []


async def test_half_a_sample_is_told(pipe):
    """Bytes that end inside a sample are of another encoding than declared."""
    write_all(pipe[1], bytes(321), 321)

    with pytest.raises(ProtocolError, match="ends inside a sample"):
        await heard(pipe[0])


async def test_a_file_is_as_good_as_a_pipe(tmp_path):
    """`fac run --stdin < call.raw`, with two legs."""
    path = tmp_path / "call.raw"
    path.write_bytes(np.arange(4000).astype("<i2").tobytes())
    with path.open("rb") as file:
        frames = await heard(file.fileno(), legs=["caller", "agent"])

    assert b"".join(frame.data for frame in frames) == path.read_bytes()
    assert frames[-1].start_sample + len(frames[-1].data) // 4 == 2000


async def test_what_cannot_be_read_is_told(tmp_path):
    """A descriptor that is not open for reading."""
    with (tmp_path / "out").open("wb") as file, pytest.raises(SourceError, match="cannot be read"):
        await heard(file.fileno())


async def test_a_reader_that_leaves_ends_the_thread(pipe):
    """Closing the frames, as a stopping daemon does, needs nothing from the pipe's other end."""
    source = StdinSource(Options(type="stdin"), config.Ingest(), file=pipe[0])
    frames = source.frames()
    os.write(pipe[1], bytes(640))
    async with asyncio.timeout(60):
        await anext(frames)
        await frames.aclose()
    os.close(pipe[1])


def test_a_terminal_is_no_pipe(monkeypatch):
    """`fac run --stdin` without a pipe says what is missing instead of waiting for keys."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

    with pytest.raises(ConfigError, match="pipe sound into it"):
        run(stdin=True)
