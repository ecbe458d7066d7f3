"""Vonage Voice API WebSockets: one JSON text, then the call's audio in binary, little-endian 16 bits.

The first text has ``"event": "websocket:connected"``, ``"content-type": "audio/l16;rate=16000"`` and,
beside them, whatever stands in ``headers`` of the NCCO's endpoint. Of those, ``call_id`` names the call and
``token`` proves it. The audio is a mix of the whole call, so there is one leg, ``mixed``.

Source: developer.vonage.com/en/voice/voice-api/concepts/websockets.
"""

import re
import time
from collections.abc import Callable
from typing import Any

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.metadata import fitting, named_call
from fac_stream.protocols.objects import take_token
from fac_stream.protocols.preamble import PreambleStream

_CONTENT_TYPE = re.compile(r"audio/l16;\s*rate=(8000|16000|24000)", re.IGNORECASE)


def vonage_stream(now: Callable[[], float] = time.monotonic) -> PreambleStream:
    """A parser for one connection."""
    return PreambleStream(begin, now)


def begin(fields: dict[str, Any]) -> Start:
    """The first text as a call.

    Raises:
        ProtocolError: it is another message, or names another audio format.
    """
    if fields.get("event") != "websocket:connected":
        raise ProtocolError("the first message must be websocket:connected")
    described = _CONTENT_TYPE.fullmatch(str(fields.get("content-type")))
    if described is None:
        raise ProtocolError("content-type must be audio/l16;rate=8000, 16000 or 24000")
    metadata = {name: value for name, value in fields.items() if name not in {"event", "content-type"}}
    token = take_token(metadata)
    call_id = named_call(metadata.pop("call_id", None))
    audio = AudioFormat(int(described[1]), Encoding.PCM_S16LE, ("mixed",))
    return Start(audio, call_id, fitting({"platform": "vonage"} | metadata), token)
