"""A JSON text that describes the call, then binary L16: what Vonage and jambonz have in common.

::

    ──text──► Start   ──binary──► Media, Media, …   ──close──► Finish

Neither says goodbye in words, nor gives timestamps; texts in between tell of keys and of played audio.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Finish, Message, Mute, Start
from fac_stream.protocols.objects import parse_object
from fac_stream.protocols.untimed import UntimedAudio

MAX_IGNORED = 1000
"""Texts in a row without audio between them."""


class PreambleStream(Mute):
    """One connection; a ``Dialogue``.

    Where binary messages are cut makes no difference.

    Args:
        begin: the first text as a call; raises ``ProtocolError``.
        now: the clock, seconds.
    """

    def __init__(
        self, begin: Callable[[dict[str, Any]], Start], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._begin = begin
        self._now = now
        self._audio: UntimedAudio | None = None
        self._ignored = 0
        self._finished = False

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take the first text; others say nothing of interest.

        Raises:
            ProtocolError: it is no JSON object, does not describe a call, or is one of too many.
        """
        fields = parse_object(text)
        if self._audio is None:
            start = self._begin(fields)
            self._audio = UntimedAudio(start.format.sample_rate, start.format.frame_width, self._now)
            return [start]
        self._ignored += 1
        if self._ignored > MAX_IGNORED:
            raise ProtocolError(f"more than {MAX_IGNORED} messages came without audio")
        return []

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take audio.

        Raises:
            ProtocolError: it comes before the text that says how to read it.
        """
        if self._audio is None:
            raise ProtocolError("audio came before the text that says how to read it")
        self._ignored = 0
        return [] if self._finished else self._audio.push(data)

    def receive_close(self) -> Sequence[Message]:
        """The call is complete.

        Raises:
            ProtocolError: a part of a sample is left over.
        """
        if self._audio is None or self._finished:
            return []
        self._finished = True
        return [*self._audio.end(), Finish()]
