"""Who speaks on ``/ws/twilio``, and in which format: told apart by what ``start`` calls the call.

==========  ===================  ============  =====================================================
platform    call, stream         numbers       audio
==========  ===================  ============  =====================================================
Twilio      callSid, streamSid   strings       µ-law 8000
SignalWire  the same             strings       µ-law 8000, L16 little-endian 16000 or 24000
Telnyx      call_control_id,     strings       PCMU, PCMA, G.722, Opus as RTP payloads; L16 in either
            stream_id                          byte order
Plivo       callId, streamId     numbers       µ-law 8000, L16 little-endian 8000 or 16000
Exotel      call_sid,            strings       L16 little-endian 8000, 16000 or 24000; µ-law 8000
            stream_sid
==========  ===================  ============  =====================================================

Sources: twilio.com/docs/voice/media-streams/websocket-messages,
developer.signalwire.com/compatibility-api/cxml/voice/stream (which also shows each message wrapped in
``rawEvent``), developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket,
plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference,
developer.exotel.com/docs/agentstream/websocket-protocol.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fac_stream.audio.codec import G722, L16, OPUS, PCMA, PCMU, Codec
from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.audio.payload import PayloadDecoder
from fac_stream.errors import AudioError, ProtocolError
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.metadata import fitting, named_call
from fac_stream.protocols.objects import member, parse_object, take_token, whole

Reader = Callable[[bytes], bytes]
"""A payload of one track to samples as ``Start.format`` says; has a memory where the codec has one."""

RATES = range(8_000, 48_001)
_LEGS = {
    "inbound": ("caller",),
    "inbound_track": ("caller",),
    "outbound": ("agent",),
    "outbound_track": ("agent",),
    "both_tracks": ("caller", "agent"),
}
_CODECS = {
    "mulaw": PCMU,
    "pcmu": PCMU,
    "alaw": PCMA,
    "pcma": PCMA,
    "l16": L16,
    "raw": L16,
    "raw/slin": L16,
    "base64": L16,  # Exotel's older pages name the wrapping instead
    "g722": G722,
    "opus": OPUS,
}
_RATE = re.compile(r"rate=([0-9]{4,5})")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one platform calls things in its ``start`` message."""

    name: str
    call: str
    stream: str
    account: str
    media_format: str = "mediaFormat"
    sample_rate: str = "sampleRate"
    parameters: str = "customParameters"
    also: tuple[str, ...] = ()
    """More that it says of the call, passed on as metadata."""
    either_byte_order: bool = False
    """Whether its L16 is not known to be little-endian."""


TWILIO = Dialect("twilio", "callSid", "streamSid", "accountSid")
SIGNALWIRE = Dialect("signalwire", "callSid", "streamSid", "accountSid")
TELNYX = Dialect(
    "telnyx",
    "call_control_id",
    "stream_id",
    "user_id",
    "media_format",
    "sample_rate",
    "custom_parameters",
    ("from", "to", "call_session_id", "client_state", "tags"),
    either_byte_order=True,
)
PLIVO = Dialect("plivo", "callId", "streamId", "accountId", parameters="extra_headers")
EXOTEL = Dialect(
    "exotel",
    "call_sid",
    "stream_sid",
    "account_sid",
    "media_format",
    "sample_rate",
    "custom_parameters",
    ("from", "to"),
)


def leg_of(track: object) -> str:
    """Whose audio a track is: what the platform hears of the call's own leg is the caller's.

    Raises:
        ProtocolError: there is no such track.
    """
    match track:
        case None | "inbound" | "inbound_track":
            return "caller"
        case "outbound" | "outbound_track":
            return "agent"
    raise ProtocolError("a track is inbound or outbound")


def begin(message: dict[str, Any], *, wrapped: bool) -> tuple[Start, Callable[[], Reader]]:
    """A ``start`` message as the call that begins, and how to read each of its tracks.

    Args:
        message: with ``event`` and ``start``.
        wrapped: whether it came inside ``rawEvent``.

    Raises:
        ProtocolError: it comes from no known platform, or says what cannot be used.
    """
    start = member(message, "start")
    dialect = _dialect(message, start, wrapped=wrapped)
    parameters = _parameters(start.get(dialect.parameters, message.get(dialect.parameters)))
    token = take_token(parameters)
    said = {name: start.get(name, message.get(name)) for name in (dialect.stream, dialect.account)}
    said |= {name: start.get(name) for name in dialect.also}
    metadata = {"platform": dialect.name} | {name: value for name, value in said.items() if value is not None}
    if parameters:
        metadata["parameters"] = parameters
    codec = _codec(dialect, member(start, dialect.media_format))
    legs = _legs(start.get("tracks"))
    _check_channels(start[dialect.media_format].get("channels"), len(legs))
    call_id = named_call(start[dialect.call])
    audio, reader = _reading(codec, legs, either_byte_order=dialect.either_byte_order)
    return Start(audio, call_id, fitting(metadata), token), reader


def _dialect(message: dict[str, Any], start: dict[str, Any], *, wrapped: bool) -> Dialect:
    for dialect in (TWILIO, TELNYX, PLIVO, EXOTEL):
        if dialect.call in start and (dialect.stream in start or dialect.stream in message):
            break
    else:
        raise ProtocolError(
            "start names no call as Twilio, SignalWire, Telnyx, Plivo or Exotel do: "
            "is this the right address for this platform?"
        )
    # Both have the same names; an account of Twilio's is AC and 32 digits, one of SignalWire's a UUID.
    if dialect is TWILIO and (wrapped or not str(start.get(TWILIO.account, "AC")).startswith("AC")):
        return SIGNALWIRE
    return dialect


def _parameters(value: object) -> dict[str, Any]:
    """What the user added: an object, or, with Plivo, ``a=1;b=2`` or an object as a string."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return parse_object(value)
    if isinstance(value, str):
        pairs = (pair.partition("=") for pair in re.split("[;,]", value) if "=" in pair)
        return {name.strip(): text.strip() for name, _, text in pairs}
    return dict(value) if isinstance(value, dict) else {}


def _legs(tracks: object) -> tuple[str, ...]:
    if tracks is None:
        return ("caller",)
    names = [tracks] if isinstance(tracks, str) else tracks
    if not isinstance(names, list) or not names or not all(name in _LEGS for name in map(str, names)):
        raise ProtocolError("start.tracks must be a list of inbound and outbound")
    legs = dict.fromkeys(leg for name in names for leg in _LEGS[str(name)])
    return tuple(sorted(legs, key=["caller", "agent"].index))


def _check_channels(channels: object, legs: int) -> None:
    # SignalWire counts tracks, whose audio comes in messages of their own.
    if channels is not None and not 1 <= whole(channels, "channels") <= legs:
        raise ProtocolError("each track must have one channel")


def _codec(dialect: Dialect, described: dict[str, Any]) -> Codec:
    encoding = str(described.get("encoding", ""))[:100]
    name, _, rest = encoding.lower().partition(";")
    codec = _CODECS.get(name.strip().removeprefix("audio/").removeprefix("x-"))
    if codec is None:
        raise ProtocolError(
            f"audio encoded as {encoding or 'nothing named'} cannot be read: ask for PCMU, PCMA or L16"
        )
    in_encoding = _RATE.search(rest)
    usual = int(in_encoding[1]) if in_encoding else 8_000
    rate = whole(described.get(dialect.sample_rate, usual), "the sample rate")
    if rate not in RATES:
        raise ProtocolError(f"a sample rate of {rate} Hz cannot be: {RATES[0]} to {RATES[-1]}")
    # What a platform says of these rates is the clock's or the audio's: RFC 3551, 4.5.2; RFC 7587, 4.1.
    fixed = {G722: Codec(G722, 8_000), OPUS: Codec(OPUS, 48_000, 2)}
    return fixed.get(codec) or Codec(codec, rate)


def _reading(
    codec: Codec, legs: tuple[str, ...], *, either_byte_order: bool
) -> tuple[AudioFormat, Callable[[], Reader]]:
    law = {PCMU: Encoding.MULAW, PCMA: Encoding.ALAW}.get(codec.name)
    if law:
        return AudioFormat(codec.sample_rate, law, legs), lambda: bytes
    audio = AudioFormat(codec.sample_rate, Encoding.PCM_S16LE, legs)
    if codec.name == L16:
        return audio, (EitherOrder if either_byte_order else lambda: _whole_samples)
    return audio, lambda: _decoding(codec)


def _whole_samples(data: bytes) -> bytes:
    if len(data) % 2:
        raise ProtocolError(f"a payload of {len(data)} bytes ends inside a sample of 2 bytes")
    return data


def _decoding(codec: Codec) -> Reader:
    decoder = PayloadDecoder(codec)

    def read(data: bytes) -> bytes:
        try:
            return encode(decoder.decode([data]), Encoding.PCM_S16LE)
        except AudioError as error:
            raise ProtocolError(str(error)) from None

    return read


class EitherOrder:
    """16-bit samples to little-endian, whichever order they came in.

    Telnyx calls L16 an RTP payload, which is big-endian (RFC 3551, 4.5.11); streams seen in use were
    little-endian. Sound moves in small steps from sample to sample; with the bytes swapped it jumps. So the
    order in which all audio so far jumped less is the right one.
    """

    def __init__(self) -> None:
        self._jumps = [0, 0]  # read as little-endian, as big-endian

    def __call__(self, data: bytes) -> bytes:
        """The same samples, little-endian; silence says nothing and is taken for big-endian.

        Raises:
            ProtocolError: the data end inside a sample.
        """
        _whole_samples(data)
        for i, order in enumerate(("<i2", ">i2")):
            samples = np.frombuffer(data, order).astype(np.int32)
            self._jumps[i] += int(np.abs(np.diff(samples)).sum())
        if self._jumps[0] < self._jumps[1]:
            return data
        return np.frombuffer(data, ">i2").astype("<i2").tobytes()
