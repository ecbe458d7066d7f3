"""Asterisk's chan_websocket: audio as binary messages, control as text; in either role the same.

Text is plain (the first form, and still the default) or JSON (from 20.18, 22.8 and 23.2)::

    MEDIA_START connection_id:e226… channel:WebSocket/fac/0x7f… channel_id:pbx1-17.9 format:slin16 …
    {"event": "MEDIA_START", "connection_id": "e226…", …, "channel_variables": {"token": "…"}}

Audio may come before MEDIA_START; frames that Asterisk does not have, it does not send. Source:
https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.events import AnyEvent, EndReason
from fac_stream.protocols.dialogue import (
    Finish,
    Hangup,
    Message,
    Refusal,
    Reply,
    Send,
    Start,
    hangup,
)
from fac_stream.protocols.metadata import CALL_ID, fitting, named_call, named_leg
from fac_stream.protocols.untimed import UntimedAudio

SUBPROTOCOL = "media"
FORMATS = {
    "ulaw": (8_000, Encoding.MULAW),
    "alaw": (8_000, Encoding.ALAW),
    "slin": (8_000, Encoding.PCM_S16LE),
    "slin12": (12_000, Encoding.PCM_S16LE),
    "slin16": (16_000, Encoding.PCM_S16LE),
    "slin24": (24_000, Encoding.PCM_S16LE),
    "slin32": (32_000, Encoding.PCM_S16LE),
    "slin44": (44_100, Encoding.PCM_S16LE),
    "slin48": (48_000, Encoding.PCM_S16LE),
    "slin96": (96_000, Encoding.PCM_S16LE),
    "slin192": (192_000, Encoding.PCM_S16LE),
}
"""Asterisk's name of a format → Hertz and encoding. Asterisk converts to any of them; no other is needed."""
MAX_TEXT_CHARACTERS = 65_500
"""Asterisk's own limit of a message."""
MAX_EARLY_BYTES = 256 * 1024
"""Audio before MEDIA_START."""
_EVENT = re.compile(r"[A-Z][A-Z_]{2,63}")


class AsteriskStream:
    """One connection's wire format; a ``Dialogue``.

    Args:
        parameters: of the URI: ``call_id``, ``leg`` and ``token`` are ours, the others become metadata.
            Channel variables mean the same.
        leg: name of the only leg, where neither gives one.
        now: the clock, seconds.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        leg: str = "mixed",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameters = parameters
        self._leg = leg
        self._now = now
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._audio: UntimedAudio | None = None
        self._speaks_json = False

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take an event of Asterisk's; only MEDIA_START means something to a listener."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise ProtocolError(f"a text message has at most {MAX_TEXT_CHARACTERS} characters")
        name, fields = _json(text) if text.lstrip().startswith("{") else _plain(text)
        if name != "MEDIA_START":
            return ()
        if self._audio is not None:
            raise ProtocolError("MEDIA_START came twice")
        self._speaks_json = text.lstrip().startswith("{")
        start = self._start(fields)
        self._audio = UntimedAudio(start.format.sample_rate, start.format.frame_width, self._now)
        early, self._early = b"".join(self._early), []
        return [start, *self._audio.push(early)]

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take audio; what comes before MEDIA_START waits for it."""
        if self._audio is not None:
            return self._audio.push(data)
        self._early.append(data)
        self._early_bytes += len(data)
        if self._early_bytes > MAX_EARLY_BYTES:
            raise ProtocolError(
                f"{MAX_EARLY_BYTES} bytes of audio came, but no MEDIA_START to say how to read it"
            )
        return ()

    def receive_close(self) -> Sequence[Message]:
        """Asterisk hung up: that is how every call ends."""
        return [*self._audio.end(), Finish()] if self._audio else ()

    def admitted(self, call_id: str) -> Sequence[Reply]:  # noqa: ARG002 - Asterisk has no use for it
        """Nothing: Asterisk is sending already."""
        return ()

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """Hang up the WebSocket channel, and no other."""
        return [*self._hang_up(), hangup(refusal, reason)]

    def event(self, event: AnyEvent) -> Sequence[Reply]:  # noqa: ARG002 - there is no message that could carry it
        """Nothing."""
        return ()

    def ended(self, reason: EndReason) -> Sequence[Reply]:
        """Close; the channel is gone already, or goes now."""
        return [*self._hang_up(), Hangup(reason=reason.value)]

    def _hang_up(self) -> list[Reply]:
        if self._audio is None:
            return []
        return [Send(json.dumps({"command": "HANGUP"}) if self._speaks_json else "HANGUP")]

    def _start(self, fields: Mapping[str, Any]) -> Start:
        name = fields.get("format")
        if not isinstance(name, str) or name not in FORMATS:
            raise ProtocolError(
                f"format {str(name)[:40]!r} cannot be read: dial with c(slin16), "
                f"or one of {', '.join(FORMATS)}"
            )
        rate, encoding = FORMATS[name]
        variables = fields.get("channel_variables")
        said: dict[str, JsonValue] = {
            **(variables if isinstance(variables, dict) else {}),
            **self._parameters,
        }
        call_id, leg, token = (said.pop(name, None) for name in ("call_id", "leg", "token"))
        own = {name: fields[name] for name in ("connection_id", "channel", "channel_id") if name in fields}
        return Start(
            AudioFormat(rate, encoding, (named_leg(leg, self._leg),)),
            call_id=named_call(call_id) or _channel_id(fields),
            metadata=fitting(own | {name: value for name, value in said.items() if name not in own}),
            token=token if isinstance(token, str) else None,
        )


def _channel_id(fields: Mapping[str, Any]) -> str | None:
    """Unlike the connection's id it is always the call's own."""
    channel = fields.get("channel_id")
    return channel if isinstance(channel, str) and CALL_ID.fullmatch(channel) else None


def _json(text: str) -> tuple[str, dict[str, Any]]:
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError(f"a text message that begins with {{ must be JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ProtocolError("a JSON message must be an object")
    name = fields.get("event")
    if not isinstance(name, str):
        raise ProtocolError('a JSON message needs an "event"')
    return name, fields


def _plain(text: str) -> tuple[str, dict[str, Any]]:
    name, *parameters = text.split() or [""]
    if not _EVENT.fullmatch(name):
        raise ProtocolError(f"a text message is an event such as MEDIA_START, not {name[:40]!r}")
    pairs = (parameter.partition(":") for parameter in parameters)
    return name, {key: value for key, separator, value in pairs if separator}
