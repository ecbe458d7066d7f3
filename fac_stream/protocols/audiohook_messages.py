"""The messages of Genesys AudioHook, version 2: what may stand in them, without state.

Source: https://developer.genesys.cloud/devapps/audiohook/protocol-reference and the validators of
https://github.com/purecloudlabs/audiohook-reference-implementation. Fields that are not known are ignored:
the protocol grows by them.
"""

import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError

MAX_TEXT_CHARACTERS = 65_535
MAX_CONFIG_BYTES = 8 * 1024
RATE = 8000
"""Hertz; the protocol knows no other."""
NULL_UUID = "00000000-0000-0000-0000-000000000000"

_DURATION = re.compile(r"PT([0-9]{0,12}\.[0-9]{1,12}|[0-9]{1,12})S")
_LEGS = {"external": "caller", "internal": "agent"}
_ENCODINGS = {"PCMU": Encoding.MULAW, "L16": Encoding.PCM_S16LE}
"""The reference implementation keeps L16 in the machine's own order: little-endian, unlike RTP."""


def seconds(text: object) -> float:
    """``PT1.25S`` as a number.

    Raises:
        ValueError: it is no such text.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a duration looks like PT1.25S")
    return float(match[1])


def duration(value: float) -> str:
    """Seconds as ``PT1.25S``, to the millisecond; not negative."""
    return f"PT{value:.3f}".rstrip("0").rstrip(".") + "S"


Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
Sequence = Annotated[int, Field(ge=0, lt=2**53)]
Duration = Annotated[float, BeforeValidator(seconds)]
Text = Annotated[str, Field(max_length=1024)]


class Part(BaseModel):
    """Camel case on the wire; nothing is converted."""

    model_config = ConfigDict(frozen=True, strict=True, alias_generator=to_camel)


class ClientMessage(Part):
    """What every message of the client has."""

    version: Literal["2"]
    id: Uuid
    type: Annotated[str, Field(max_length=64)]
    seq: Sequence
    serverseq: Sequence
    position: Duration
    parameters: dict[str, JsonValue]


class Offer(Part):
    """One way in which the client can send its audio; one that we cannot read is merely not chosen."""

    type: Text
    format: Text
    channels: Annotated[list[Text], Field(max_length=8)]
    rate: int

    @property
    def audio(self) -> AudioFormat | None:
        """How to read it, or None where we cannot."""
        legs = tuple(_LEGS[channel] for channel in self.channels if channel in _LEGS)
        readable = self.type == "audio" and self.format in _ENCODINGS and self.rate == RATE
        if not readable or not legs or len(set(legs)) != len(self.channels):
            return None
        return AudioFormat(RATE, _ENCODINGS[self.format], legs)


class Participant(Part):
    """The external party of the conversation."""

    id: Uuid
    ani: Text
    ani_name: Text
    dnis: Text


class Continued(Part):
    """A session that this one goes on with."""

    id: Uuid


class Open(Part):
    """Parameters of ``open``."""

    organization_id: Uuid
    conversation_id: Uuid
    participant: Participant
    media: Annotated[list[Offer], Field(max_length=32)]
    language: Text | None = None
    supported_languages: bool = False
    custom_config: dict[str, JsonValue] = {}
    continued_sessions: Annotated[list[Continued], Field(max_length=256)] = []

    @field_validator("custom_config")
    @classmethod
    def _config_is_small(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if len(json.dumps(config, ensure_ascii=False).encode()) > MAX_CONFIG_BYTES:
            raise ValueError(f"longer than {MAX_CONFIG_BYTES} bytes of JSON")
        return config

    @property
    def is_probe(self) -> bool:
        """Whether Genesys only tries its configuration: no conversation is behind it."""
        return NULL_UUID in (self.conversation_id, self.participant.id)

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """What it says of the call; empty texts are left out."""
        config = {name: value for name, value in self.custom_config.items() if name != "token"}
        fields: dict[str, JsonValue] = {
            "organization_id": self.organization_id,
            "conversation_id": self.conversation_id,
            "participant_id": self.participant.id,
            "ani": self.participant.ani,
            "ani_name": self.participant.ani_name,
            "dnis": self.participant.dnis,
            "language": self.language,
            "custom_config": config,
        }
        return {name: value for name, value in fields.items() if value}


class Close(Part):
    """Parameters of ``close``."""

    reason: Literal["end", "error", "disconnect", "reconnect"]


class Gap(Part):
    """Parameters of ``discarded`` and ``resumed``: what the client left out of the audio."""

    start: Duration
    discarded: Duration


class Update(Part):
    """Parameters of ``update``."""

    language: Text


class ClientError(Part):
    """Parameters of ``error``: what the client finds wrong with us."""

    code: Annotated[int, Field(ge=400, lt=10_000)]
    message: str
    retry_after: Duration | None = None


AnyPart = TypeVar("AnyPart", bound=Part)


def read(text: str) -> ClientMessage:
    """One text message.

    Raises:
        ProtocolError: it is too long, no JSON object, or no message of a client.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ProtocolError(f"413: a message has at most {MAX_TEXT_CHARACTERS} characters")
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError(f"400: a message must be JSON: {error}") from None
    return fit(ClientMessage, fields, "message")


def fit(part: type[AnyPart], fields: Any, name: str) -> AnyPart:
    """Fields as the part that they must be.

    Raises:
        ProtocolError: they are not.
    """
    try:
        return part.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))[:80]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)[:3]
        )
        raise ProtocolError(f"400: bad {name}: {faults}") from None
