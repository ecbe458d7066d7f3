"""The bounded hand-over between whoever receives audio and the task of its call.

::

    sender keeps real time:        full? the oldest frame is dropped and counted; a gap shows in start_sample
    sender is ahead of real time:  full? the sender waits; nothing is lost
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

from fac_stream.audio.frames import AudioFormat, Frame


class FrameQueue:
    """At most ``queue_s`` seconds of frames, and one frame more; all of it belongs to the event loop."""

    def __init__(
        self, audio_format: AudioFormat, queue_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = audio_format.sample_rate
        self._width = audio_format.frame_width
        self._queue_s = queue_s
        self._now = now
        self._frames: deque[Frame] = deque()
        self._queued = 0
        self._received = 0
        self._dropped = 0
        self._started_at: float | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._error: Exception | None = None

    @property
    def received_s(self) -> float:
        """Seconds of audio put in so far, dropped ones included."""
        return self._received / self._rate

    @property
    def dropped_s(self) -> float:
        """Seconds of audio dropped because the reader was slow."""
        return self._dropped / self._rate

    @property
    def full(self) -> bool:
        """Whether the next frame has to wait or to push out the oldest."""
        return self._queued >= self._queue_s * self._rate

    @property
    def ahead(self) -> bool:
        """Whether more audio arrived than time has passed: a recording, not a conversation."""
        if self._started_at is None:
            return False
        return self.received_s > self._now() - self._started_at + self._queue_s / 2

    async def put(self, frame: Frame) -> None:
        """Add a frame; waits while the queue is full and the sender ahead. Cancelling adds nothing."""
        while self.full and self.ahead and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        self.put_nowait(frame)

    def put_nowait(self, frame: Frame) -> None:
        """Add a frame, dropping the oldest ones where it does not fit; ignored once closed."""
        if self._closed:
            return
        if self._started_at is None:
            self._started_at = self._now()
        samples = self._samples(frame)
        self._received += samples
        while self.full:
            oldest = self._pop()
            self._dropped += self._samples(oldest)
        self._frames.append(frame)
        self._queued += samples
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """Add nothing more; the reader gets what waits, then the end or ``error``. The first call counts."""
        if not self._closed:
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
                    await self._filled()
                continue
            yield self._pop()
            self._changed.set()
        if self._error is not None:
            raise self._error

    async def _filled(self) -> None:
        while not self._frames and not self._closed:
            self._changed.clear()
            await self._changed.wait()

    def _pop(self) -> Frame:
        frame = self._frames.popleft()
        self._queued -= self._samples(frame)
        return frame

    def _samples(self, frame: Frame) -> int:
        return len(frame.data) // self._width
