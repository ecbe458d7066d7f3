import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import AudioFormat, Encoding, Frame
from fac_stream.errors import SourceError
from fac_stream.sources.queue import FrameQueue

RATE = 8000
MULAW = AudioFormat(RATE, Encoding.MULAW, ("mixed",))


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """The time that was set."""
        return self.now


def frames(lengths):
    """Frames of these many samples, one after the other."""
    starts = itertools.accumulate(lengths, initial=0)
    return [Frame(start, bytes(n), 0.0) for start, n in zip(starts, lengths, strict=False)]


async def read_all(queue):
    """Every frame until the end."""
    return [frame async for frame in queue.frames()]


@settings(deadline=None)
@given(st.lists(st.integers(1, RATE), max_size=40))
def test_a_live_sender_never_waits_and_what_is_lost_is_counted(lengths):
    """Samples in are samples out plus samples counted as dropped; the newest survive; memory is bounded."""

    async def scenario():
        queue = FrameQueue(MULAW, queue_s=1.0)
        sent = frames(lengths)
        for frame in sent:
            queue.put_nowait(frame)
        queue.close()
        received = await read_all(queue)
        samples = sum(len(frame.data) for frame in received)
        assert samples < 2 * RATE
        assert received == sent[len(sent) - len(received) :]
        assert sum(lengths) == samples + round(queue.dropped_s * RATE)
        assert queue.received_s == sum(lengths) / RATE

    asyncio.run(scenario())


@settings(deadline=None)
@given(st.lists(st.integers(1, 3 * RATE), max_size=40))
def test_a_sender_ahead_of_real_time_waits_and_loses_nothing(lengths):
    """A recording sent as fast as possible arrives whole, although it is longer than the queue."""

    async def scenario():
        queue = FrameQueue(MULAW, queue_s=1.0, now=Clock())
        sent = frames([RATE, *lengths])

        async def send():
            for frame in sent:
                await queue.put(frame)
            queue.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            received = group.create_task(read_all(queue))
        assert received.result() == sent
        assert queue.dropped_s == 0
        assert queue.ahead

    asyncio.run(scenario())


async def test_a_sender_that_keeps_real_time_does_not_wait():
    """Where nobody reads, ``put`` returns at once, and the oldest second is gone."""
    clock = Clock()
    queue = FrameQueue(MULAW, queue_s=1.0, now=clock)
    for frame in frames([RATE // 2] * 6):
        clock.now += 0.5
        await queue.put(frame)
    assert not queue.ahead
    assert queue.dropped_s == pytest.approx(2.0)
    queue.close()
    assert [frame.start_sample for frame in await read_all(queue)] == [2 * RATE, 2.5 * RATE]


async def test_samples_are_counted_by_the_width_of_all_channels():
    """Seconds do not depend on how wide a sample is."""
    queue = FrameQueue(AudioFormat(RATE, Encoding.PCM_S16LE, ("caller", "agent")), queue_s=1.0)
    queue.put_nowait(Frame(0, bytes(4 * RATE), 0.0))
    assert queue.received_s == 1.0
    assert queue.full


async def test_silence_of_the_sender_is_a_timeout():
    """A sender that sends nothing for the idle time ends the iteration with TimeoutError."""
    queue = FrameQueue(MULAW, queue_s=1.0)
    queue.put_nowait(Frame(0, bytes(10), 0.0))
    reader = queue.frames(idle_timeout_s=0.01)
    assert len((await anext(reader)).data) == 10
    with pytest.raises(TimeoutError):
        await anext(reader)


async def test_an_error_comes_after_the_audio_that_waits():
    """Closing with an error loses no audio; the first reason is the one that counts."""
    queue = FrameQueue(MULAW, queue_s=1.0)
    queue.put_nowait(Frame(0, bytes(10), 0.0))
    queue.close(SourceError("the connection was lost"))
    queue.close()
    reader = queue.frames()
    await anext(reader)
    with pytest.raises(SourceError, match="lost"):
        await anext(reader)


async def test_closing_wakes_a_sender_that_waits():
    """A sender that waits for room is let go when the call is over."""
    queue = FrameQueue(MULAW, queue_s=1.0, now=Clock())
    queue.put_nowait(Frame(0, bytes(2 * RATE), 0.0))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(queue.put(Frame(2 * RATE, bytes(10), 0.0)))
        await asyncio.sleep(0)
        queue.close()
    assert [len(frame.data) for frame in await read_all(queue)] == [2 * RATE]
