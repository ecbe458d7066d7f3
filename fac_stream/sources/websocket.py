"""A call that comes in over ``/ws/ingest``."""

import uuid
from collections.abc import AsyncGenerator

from fac_stream.audio.frames import Frame
from fac_stream.config import Ingest
from fac_stream.protocols.pcm import Hello
from fac_stream.sources.queue import FrameQueue


class WebSocketSource:
    """The call's end of ``queue``, which the connection fills."""

    kind = "websocket"

    def __init__(self, hello: Hello, limits: Ingest) -> None:
        self.call_id = hello.call_id or f"ws-{uuid.uuid4().hex[:12]}"
        self.format = hello.format
        self.metadata = dict(hello.metadata)
        self.queue = FrameQueue(self.format, limits.queue_s)
        self._idle_timeout_s = limits.idle_timeout_s

    @property
    def live(self) -> bool:
        """False for a recording that is sent faster than it can be spoken: its windows may be late."""
        return not self.queue.ahead

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames until the connection ends; see ``FrameQueue.frames``."""
        return self.queue.frames(self._idle_timeout_s)
