"""The body of a realtime request: a sound file as base64, or bare samples, which are dressed as a WAV file.

So one decoder reads everything that is sent whole.
"""

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fac_stream.audio.frames import Encoding
from fac_stream.server.failure import ApiError
from fac_stream.server.mpeg import is_mpeg_stream

_MAGIC = (b"RIFF", b"RF64", b"OggS", b"fLaC", b"ID3", b"FORM", b"\x1aE\xdf\xa3")
"""How sound files begin; of MP4 the mark stands at byte 4."""
_FORMAT_TAG = {Encoding.PCM_S16LE: 1, Encoding.PCM_F32LE: 3, Encoding.ALAW: 6, Encoding.MULAW: 7}
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_BARE_SAMPLES = (
    "audio: no sound file; if these are bare samples, add sample_rate (Hertz), "
    "and encoding and channels where they are not pcm_s16le and 1"
)


class RealtimeRequest(BaseModel):
    """The JSON."""

    model_config = ConfigDict(extra="forbid")

    audio: str
    """Base64; ``data:…;base64,`` may stand before it."""
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)] | None = None
    """Hertz; needed for bare samples only."""
    encoding: Encoding = Encoding.PCM_S16LE
    channels: Annotated[int, Field(ge=1, le=8)] = 1


@dataclass(frozen=True, slots=True)
class Clip:
    """What is to be decoded."""

    data: bytes
    hint: str | None
    """What to say where it cannot be."""


def parse(body: bytes) -> Clip:
    """Read the body of a realtime request.

    Bytes that begin like a sound file are one; others are bare samples if a rate is given.

    Raises:
        ApiError: 400 for what is no JSON, 422 for fields that cannot be used.
    """
    wanted = _validate(body)
    text = wanted.audio.partition(",")[2] if wanted.audio.startswith("data:") else wanted.audio
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, "bad_base64", "audio: not base64") from None
    if not data:
        raise ApiError(422, "empty", "audio: empty")
    if data.startswith(_MAGIC) or data[4:8] == b"ftyp" or is_mpeg_stream(data):
        return Clip(data, None)
    if wanted.sample_rate is None:
        return Clip(data, _BARE_SAMPLES)
    return Clip(wav(data, wanted.sample_rate, wanted.encoding, wanted.channels), None)


def wav(data: bytes, sample_rate: int, encoding: Encoding, channels: int) -> bytes:
    """A WAV file of interleaved samples.

    Raises:
        ApiError: the bytes are not a whole number of samples.
    """
    width = encoding.width * channels
    if len(data) % width:
        message = f"audio: {len(data)} bytes are no whole number of samples of {width} bytes"
        raise ApiError(422, "unusable_audio", f"{message}: check encoding and channels")
    header = _WAV_HEADER.pack(
        *(b"RIFF", _WAV_HEADER.size - 8 + len(data), b"WAVE"),
        *(b"fmt ", 16, _FORMAT_TAG[encoding], channels, sample_rate),
        *(sample_rate * width, width, encoding.width * 8),
        *(b"data", len(data)),
    )
    return header + data


def _validate(body: bytes) -> RealtimeRequest:
    try:
        return RealtimeRequest.model_validate(json.loads(body))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the body"
        raise ApiError(422, "bad_field", f"{where}: {fault['msg']}"[:300]) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "bad_json", 'the body must be JSON: {"audio": "<base64>"}') from None
