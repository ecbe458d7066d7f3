"""The bounded hand-over between whoever receives audio and the task of its call.

::

    sender keeps real time:        full? the oldest frame is dropped; a gap shows in start_sample
    sender is ahead of real time:  full? the sender waits; nothing is lost

Which of the two a sender is, a leaky measure tells: its *lead* in seconds grows by the audio that arrives and
drains ``DRAIN`` times as fast as time passes, between 0 and ``queue_s``. Above half of that the sender is
ahead.

- A recording sent faster than ``DRAIN`` times real time gains a lead as quickly as it fills the queue.
- A conversation gains none, whether its clock runs a little fast or its packets come in clumps.
- Early media, or what piled up while the line stalled, is a lead for some seconds, then it has drained.
- A pause earns no credit: the lead does not fall below 0.
- While the sender waits for the reader nothing drains: a slow reader makes no conversation of a recording.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

from fac_stream.audio.frames import AudioFormat, Frame

DRAIN = 1.25
"""Seconds of lead a second: recordings played at up to this speed count as conversations."""


class FrameQueue:
    """At most ``queue_s`` seconds of frames, and one frame more; all of it belongs to the event loop."""

    def __init__(
        self, audio_format: AudioFormat, queue_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        # Legs may come interleaved or one by one: samples of a leg are what is counted.
        self._rate = audio_format.sample_rate * len(audio_format.legs)
        self._width = audio_format.encoding.width
        self._queue_s = queue_s
        self._now = now
        self._frames: deque[Frame] = deque()
        self._queued = 0
        self._lead_s = 0.0
        self._measured_at = now()
        self._waiting = False
        self._changed = asyncio.Event()
        self._closed = False
        self._error: Exception | None = None

    @property
    def full(self) -> bool:
        """Whether the next frame has to wait or to push out the oldest."""
        return self._queued >= self._queue_s * self._rate

    @property
    def ahead(self) -> bool:
        """Whether audio arrives faster than it can be spoken: a recording, not a conversation."""
        self._drain()
        return self._lead_s > self._queue_s / 2

    async def put(self, frame: Frame) -> None:
        """Add a frame; waits while the queue is full and the sender ahead. Cancelling adds nothing."""
        try:
            while self.full and self.ahead and not self._closed:
                self._waiting = True
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._drain()
            self._waiting = False
        self.put_nowait(frame)

    def put_nowait(self, frame: Frame) -> None:
        """Add a frame, dropping the oldest ones where it does not fit; ignored once closed."""
        if self._closed:
            return
        samples = self._samples(frame)
        self._drain()
        self._lead_s = min(self._lead_s + samples / self._rate, self._queue_s)
        while self.full:
            self._pop()
        self._frames.append(frame)
        self._queued += samples
        self._changed.set()

    def touch(self) -> None:
        """The sender is there, though it sends nothing: the reader's patience begins anew."""
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """Add nothing more; the reader gets what waits, then the end or ``error``. The first call counts."""
        if not self._closed:
            self._drain()
            self._closed, self._error = True, error
            self._changed.set()

    async def frames(self, idle_timeout_s: float | None = None) -> AsyncGenerator[Frame]:
        """Frames in order until the queue is closed; for one reader.

        Raises:
            TimeoutError: nothing arrived for ``idle_timeout_s``.
        """
        while True:
            if not self._frames:
                if self._closed:
                    break
                async with asyncio.timeout(idle_timeout_s):
                    await self._woken()
                continue
            yield self._pop()
            self._changed.set()
        if self._error is not None:
            raise self._error

    def _drain(self) -> None:
        """Bring the lead up to now; the last lead of a closed queue stays."""
        now = self._now()
        if not self._waiting and not self._closed:
            self._lead_s = max(self._lead_s - DRAIN * (now - self._measured_at), 0.0)
        self._measured_at = now

    async def _woken(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _pop(self) -> Frame:
        frame = self._frames.popleft()
        self._queued -= self._samples(frame)
        return frame

    def _samples(self, frame: Frame) -> int:
        return len(frame.data) // self._width
