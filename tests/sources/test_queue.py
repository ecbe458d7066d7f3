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
def test_a_live_sender_never_waits_and_memory_is_bounded(lengths):
    """The oldest frames are lost, and no others: the newest are left, less than the queue and a frame."""

    async def scenario():
        queue = FrameQueue(MULAW, queue_s=1.0)
        sent = frames(lengths)
        for frame in sent:
            queue.put_nowait(frame)
        queue.close()
        received = await read_all(queue)
        assert sum(len(frame.data) for frame in received) < 2 * RATE
        assert received == sent[len(sent) - len(received) :]
        assert bool(received) == bool(sent)

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
    queue.close()
    assert [frame.start_sample for frame in await read_all(queue)] == [2 * RATE, 2.5 * RATE]


PACKET = RATE // 50
"""Samples of 20 ms."""


class Line:
    """A queue of five seconds, its clock, and a sender; the reader takes what there is unless it is stuck."""

    def __init__(self):
        self.clock = Clock()
        self.queue = FrameQueue(MULAW, queue_s=5.0, now=self.clock)
        self.stuck = False
        self.read = []
        self._sent = 0
        self._reader = self.queue.frames()

    async def send(self, seconds, speed=1.0):
        """20 ms at a time, so many times faster than real time; fails where ``put`` would have to wait."""
        for _ in range(round(seconds * RATE / PACKET)):
            async with asyncio.timeout(10):
                await self.queue.put(Frame(self._sent, bytes(PACKET), 0.0))
            self._sent += PACKET
            self.clock.now += PACKET / RATE / speed
            if not self.stuck:
                self.read.append(await anext(self._reader))

    async def rest(self):
        """What is left in the queue."""
        self.queue.close()
        return [frame async for frame in self._reader]


async def test_early_media_does_not_make_a_recording_of_a_call():
    """Three seconds at once, then real time: ahead at first, live seconds later, and then never held up."""
    line = Line()
    await line.send(3.0, speed=1000.0)
    assert line.queue.ahead
    await line.send(3.0)
    assert not line.queue.ahead
    line.stuck = True
    await line.send(20.0)
    assert len(await line.rest()) == 5 * 50


@pytest.mark.parametrize("burst_s", [5.0, 60.0, 600.0])
async def test_any_burst_is_over_some_seconds_later(burst_s):
    """However much came at once, a sender that keeps real time from then on is live again."""
    line = Line()
    await line.send(burst_s, speed=1e6)
    await line.send(12.0)
    assert not line.queue.ahead


async def test_a_clock_that_runs_fast_is_no_recording():
    """A sender that is 2 % fast never gets ahead, however long the call."""
    line = Line()
    for _ in range(20):
        await line.send(60.0, speed=1.02)
        assert not line.queue.ahead


async def test_a_pause_earns_no_credit():
    """After a pause, however long, a recording sent as fast as possible is held up and loses nothing."""
    line = Line()
    await line.send(2.0)
    line.clock.now += 3600.0
    sent = [Frame(line._sent + i * PACKET, bytes(PACKET), 0.0) for i in range(20 * 50)]

    async def send():
        for frame in sent:
            await line.queue.put(frame)
        line.queue.close()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(send())
        received = [frame async for frame in line._reader]
    assert received == sent


async def test_a_slow_reader_makes_no_conversation_of_a_recording():
    """While the sender waits for the reader its lead stays, also while the last of it is read."""
    line = Line()
    sent = frames([PACKET] * 50 * 30)

    async def send():
        for frame in sent:
            await line.queue.put(frame)
        line.queue.close()

    received = []
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(send())
        async for frame in line._reader:
            line.clock.now += 1.0
            received.append(frame)
            assert line.queue.ahead
            await asyncio.sleep(0)
    assert received == sent


async def test_samples_are_counted_by_the_width_of_all_channels():
    """Seconds do not depend on how wide a sample is."""
    queue = FrameQueue(AudioFormat(RATE, Encoding.PCM_S16LE, ("caller", "agent")), queue_s=1.0)
    queue.put_nowait(Frame(0, bytes(4 * RATE), 0.0))
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
