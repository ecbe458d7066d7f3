"""A call that comes in over ``/ws/ingest``."""

import time
import uuid
from collections.abc import AsyncGenerator

import structlog

from fac_stream.audio.frames import Frame
from fac_stream.config import Ingest
from fac_stream.protocols.pcm import Audio, Hello
from fac_stream.sources.queue import FrameQueue
from fac_stream.sources.rate import RateCheck

log = structlog.get_logger(__name__)

PIECE_S = 0.5
"""However long a message is, no frame is longer: so the queue is bounded, and the loop not held up."""


class WebSocketSource:
    """The call's end of ``queue``, which the connection fills."""

    kind = "websocket"

    def __init__(self, hello: Hello, limits: Ingest) -> None:
        self.call_id = hello.call_id or f"ws-{uuid.uuid4().hex[:12]}"
        self.format = hello.format
        self.metadata = dict(hello.metadata)
        self.queue = FrameQueue(self.format, limits.queue_s)
        self._idle_timeout_s = limits.idle_timeout_s
        self._rate = RateCheck(self.format.sample_rate)
        self._warned = False

    @property
    def live(self) -> bool:
        """False for a recording that is sent faster than it can be spoken: its windows may be late."""
        return not self.queue.ahead

    async def receive(self, audio: Audio) -> None:
        """Take what one message brought; waits where ``FrameQueue.put`` does.

        Raises:
            ProtocolError: the audio cannot be of the rate that was declared.
        """
        width = self.format.frame_width
        warning = self._rate.add(len(audio.data) // width)
        if warning and not self._warned:
            self._warned = True
            log.warning("suspicious rate", call_id=self.call_id, detail=warning)
        step = max(1, int(PIECE_S * self.format.sample_rate))
        for first in range(0, len(audio.data) // width, step):
            if self.queue.full:
                self._rate.restart()  # who has to wait does not show a pace of their own
            piece = audio.data[first * width : (first + step) * width]
            await self.queue.put(Frame(audio.start_sample + first, piece, time.monotonic()))

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames until the connection ends; see ``FrameQueue.frames``."""
        return self.queue.frames(self._idle_timeout_s)
