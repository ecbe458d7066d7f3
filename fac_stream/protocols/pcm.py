"""The wire format of ``/ws/ingest``: a JSON hello, then binary audio, then ``{"type": "end"}`` or a close.

::

    ──hello──► Hello    ──binary──► Audio, Audio, …    ──end──► End

No I/O: text and bytes go in, messages come out, and whatever breaks the format is a ``ProtocolError``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from fac_stream.audio.frames import AudioFormat, Encoding, default_legs
from fac_stream.config_systems import LegName
from fac_stream.errors import ProtocolError
from fac_stream.events import AnyEvent, CallEnded, EndReason
from fac_stream.protocols.dialogue import (
    Finish,
    Hangup,
    Media,
    Message,
    Refusal,
    Reply,
    Send,
    Start,
    hangup,
)
from fac_stream.protocols.objects import parse_object

MAX_TEXT_CHARACTERS = 16 * 1024
MAX_METADATA_BYTES = 8 * 1024
MAX_METADATA_DEPTH = 8
MAX_CHANNELS = 8

CallId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


class Hello(BaseModel):
    """The first message: how the audio is to be read, and what the peer says about the call."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["hello"] = "hello"
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)]
    """Hertz."""
    encoding: Annotated[Encoding, Field(strict=False)]
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
    call_id: CallId | None = None
    legs: Annotated[list[LegName], Field(max_length=MAX_CHANNELS)] | None = None
    metadata: dict[str, JsonValue] = {}

    @field_validator("metadata")
    @classmethod
    def _metadata_is_small(cls, metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if _depth(metadata) > MAX_METADATA_DEPTH:
            raise ValueError(f"nested deeper than {MAX_METADATA_DEPTH} levels")
        if len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()) > MAX_METADATA_BYTES:
            raise ValueError(f"longer than {MAX_METADATA_BYTES} bytes of JSON")
        return metadata

    @model_validator(mode="after")
    def _one_leg_a_channel(self) -> Self:
        if self.legs is not None and len(self.legs) != self.channels:
            raise ValueError(f"legs needs one name a channel: {self.channels}, not {len(self.legs)}")
        if self.legs is not None and len(set(self.legs)) != len(self.legs):
            raise ValueError("legs must have different names")
        return self

    @property
    def format(self) -> AudioFormat:
        """How to read the audio; legs that were not named get their usual names."""
        return AudioFormat(self.sample_rate, self.encoding, tuple(self.legs or default_legs(self.channels)))


@dataclass(frozen=True, slots=True)
class Audio:
    """Whole samples of all channels, still encoded."""

    start_sample: int
    """Index of the first sample since the start of the stream."""
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The call is complete."""


class PcmDialogue:
    """``PcmStream`` as a dialogue: ``ready`` when the call is admitted, then ``ended`` or ``error``."""

    def __init__(self) -> None:
        self._stream = PcmStream()

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take the hello or the end."""
        message = self._stream.receive_text(text)
        if isinstance(message, End):
            return [Finish()]
        return [Start(message.format, message.call_id, dict(message.metadata))]

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take audio."""
        audio = self._stream.receive_bytes(data)
        return [] if audio is None else [Media(audio.data, at=audio.start_sample)]

    def receive_close(self) -> Sequence[Message]:
        """A close completes the call as the end does."""
        self._stream.receive_end()
        return [Finish()]

    def admitted(self, call_id: str) -> Sequence[Reply]:
        """The call's id, which is new where the hello gave none."""
        return [_say(type="ready", call_id=call_id)]

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """In words, then as a close code."""
        word = "full" if refusal is Refusal.FULL else refusal.value
        return [_say(type="error", code=word, message=reason), hangup(refusal, reason)]

    def event(self, event: AnyEvent) -> Sequence[Reply]:
        """Nothing but how a completed call ended; scores are for ``/ws/events``."""
        if not isinstance(event, CallEnded) or event.reason is not EndReason.COMPLETED:
            return []
        fields = event.model_dump(mode="json", exclude={"type", "seq", "time", "leg"})
        return [_say(type="ended", **fields)]

    def ended(self, reason: EndReason) -> Sequence[Reply]:  # noqa: ARG002 - the event said it
        """The close."""
        return [Hangup(1000, "ended")]


def _say(**fields: Any) -> Send:
    return Send(json.dumps(fields))


class PcmStream:
    """One connection's state; raises only ``ProtocolError``, after which it must not be used again.

    Where messages are cut makes no difference: one that ends inside a sample is completed by the next.
    """

    def __init__(self) -> None:
        self._frame_width = 0
        self._next_sample = 0
        self._rest = b""
        self._ended = False

    def receive_text(self, text: str) -> Hello | End:
        """Take a text message.

        Raises:
            ProtocolError: it is no JSON object, not what is expected here, or has bad fields.
        """
        fields = parse_object(text, MAX_TEXT_CHARACTERS)
        if not self._frame_width:
            hello = _hello(fields)
            self._frame_width = hello.format.frame_width
            return hello
        if fields != {"type": "end"}:
            raise ProtocolError('after the hello, the only text message is {"type": "end"}')
        return self.receive_end()

    def receive_bytes(self, data: bytes) -> Audio | None:
        """Take a binary message; None while it holds no whole sample.

        Raises:
            ProtocolError: audio before the hello or after the end.
        """
        if not self._frame_width:
            raise ProtocolError("audio came before the hello, which says how to read it")
        if self._ended:
            raise ProtocolError("audio came after the end")
        data = self._rest + data if self._rest else data
        samples, rest = divmod(len(data), self._frame_width)
        self._rest = data[len(data) - rest :]
        if not samples:
            return None
        audio = Audio(self._next_sample, data[: len(data) - rest])
        self._next_sample += samples
        return audio

    def receive_end(self) -> End:
        """Take the end, said or by closing the connection.

        Raises:
            ProtocolError: a part of a sample is left over, or the end came twice.
        """
        if self._ended:
            raise ProtocolError("the end came twice")
        self._ended = True
        if self._rest:
            raise ProtocolError(
                f"the audio ends inside a sample: {len(self._rest)} of {self._frame_width} bytes; "
                "check encoding and channels"
            )
        return End()


def _hello(fields: dict[str, Any]) -> Hello:
    try:
        return Hello.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(_fault(fault) for fault in error.errors(include_url=False)[:3])
        raise ProtocolError(f"bad hello: {faults}") from None


def _fault(fault: Any) -> str:
    message = "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"]
    message = message.removeprefix("Value error, ")
    where = ".".join(str(part) for part in fault["loc"])[:80]
    return f"{where}: {message}" if where else message


def _depth(value: JsonValue) -> int:
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
        case _:
            return 0
