"""Session descriptions: what a peer will send, and what we answer.

RFC 8866 (the format), RFC 3264 (offer and answer), RFC 3551 (static payload types), RFC 4574 (labels).
Lines are taken in any order as long as media lines begin their own part; what is not needed to receive
audio is passed over, so ``format`` writes less than ``parse`` read. Bundling, multiplexed RTCP, ICE and
encryption are not agreed to: an answer without them declines them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fac_stream.audio.codec import OPUS, STATIC, TELEPHONE_EVENT, Codec
from fac_stream.errors import ProtocolError

__all__ = ["STATIC", "Codec", "Description", "MediaLine", "answer", "parse"]

MAX_CHARACTERS = 64 * 1024
MAX_MEDIA = 32
MAX_FORMATS = 64
MAX_PTIME_MS = 1000
PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_NAMES = {OPUS: "opus", TELEPHONE_EVENT: "telephone-event"}
"""How names are usually written where not in capitals; some peers compare them letter by letter."""


@dataclass(frozen=True, slots=True)
class MediaLine:
    """One ``m=`` line and what belongs to it."""

    kind: str
    """``audio``, ``video``, ``image``, …"""
    address: str
    """Where its receiver wants the packets; empty where nobody said."""
    port: int
    """0: the line is refused, or no longer used."""
    payloads: dict[int, Codec] = field(default_factory=dict)
    """Payload type → codec, the preferred one first; types that nothing explains are left out."""
    direction: str = "sendrecv"
    label: str | None = None
    ptime: int | None = None
    """Milliseconds a packet."""
    protocol: str = "RTP/AVP"
    formats: tuple[str, ...] = ()
    """The line's formats as they stand, understood or not: a refusal repeats them."""

    @property
    def decodable(self) -> dict[int, Codec]:
        """The payload types that can be scored; none where the line is refused, no audio or encrypted."""
        if self.kind != "audio" or self.protocol not in PROTOCOLS or not self.port:
            return {}
        return {number: codec for number, codec in self.payloads.items() if codec.decodable}


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description."""

    media: tuple[MediaLine, ...]
    address: str = ""
    """Of the session; lines that name none inherit it."""
    session_id: int = 0
    version: int = 0
    """Grows by one with each change that a party makes to what it said before (RFC 3264, section 8)."""

    def format(self) -> str:
        """The text, lines ended by CR LF."""
        connection = _connection(self.address or "0.0.0.0")  # noqa: S104 - nothing is bound to it
        lines = [
            "v=0",
            f"o=- {self.session_id} {self.version} {connection}",
            "s=-",
            f"c={connection}",
            "t=0 0",
        ]
        for line in self.media:
            lines += _media_lines(line, self.address)
        return "".join(f"{line}\r\n" for line in lines)


def parse(text: str) -> Description:
    """Read a description.

    Raises:
        ProtocolError: it is none, names a port or codec that cannot be, or is longer than any real one.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProtocolError(f"the SDP is longer than {MAX_CHARACTERS} characters")
    lines = [_split(line) for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if not lines or lines[0] != ("v", "0"):
        raise ProtocolError("an SDP begins with v=0")
    starts = [index for index, (kind, _) in enumerate(lines) if kind == "m"]
    if len(starts) > MAX_MEDIA:
        raise ProtocolError(f"the SDP has {len(starts)} media lines; {MAX_MEDIA} is the most")
    session = lines[: starts[0] if starts else len(lines)]
    address = _address(session) or ""
    direction = _direction(session) or "sendrecv"
    ends = [*starts[1:], len(lines)]
    media = tuple(
        _media(lines[start:end], address, direction) for start, end in zip(starts, ends, strict=False)
    )
    session_id, version = _origin(session)
    return Description(media, address, session_id, version)


def answer(offer: Description, host: str, ports: Sequence[int], direction: str) -> Description:
    """Accept of an offer what can be decoded.

    Args:
        offer: what the peer can send.
        host: address where we receive.
        ports: one a media line of the offer; 0 refuses the line, as does having nothing to decode.
        direction: ours, as in ``recvonly``; a line whose peer would not send is answered ``inactive``.

    Raises:
        ProtocolError: not one port a media line.
    """
    if len(ports) != len(offer.media):
        raise ProtocolError(f"{len(offer.media)} media lines need as many ports, not {len(ports)}")
    media = tuple(
        _accepted(line, host, port, direction) if port and line.decodable else _refused(line)
        for line, port in zip(offer.media, ports, strict=True)
    )
    return Description(media, host, offer.session_id, offer.version)


def _accepted(line: MediaLine, host: str, port: int, direction: str) -> MediaLine:
    # Keys are taken as events only from whom we say we take events: else they would be heard as tones.
    payloads = {
        number: codec
        for number, codec in line.payloads.items()
        if codec.decodable or codec.name == TELEPHONE_EVENT
    }
    return MediaLine(
        kind=line.kind,
        address=host,
        port=port,
        payloads=payloads,
        direction=direction if line.direction in ("sendrecv", "sendonly") else "inactive",
        label=line.label,
        ptime=line.ptime,
        protocol=line.protocol,
        formats=tuple(map(str, payloads)),
    )


def _refused(line: MediaLine) -> MediaLine:
    return MediaLine(
        line.kind, "", 0, direction="inactive", protocol=line.protocol, formats=line.formats or ("0",)
    )


def _split(line: str) -> tuple[str, str]:
    kind, equals, value = line.partition("=")
    if not equals or len(kind) != 1 or not kind.islower():
        raise ProtocolError(f"a line of an SDP looks like a=value, not {line[:40]!r}")
    if not value.replace("\t", " ").isprintable():
        # What a line carries comes back in answers: it must not be able to end a line there.
        raise ProtocolError(f"an SDP holds no control characters, but {line[:40]!r} does")
    return kind, value.strip()


def _origin(lines: Sequence[tuple[str, str]]) -> tuple[int, int]:
    fields = next((value.split() for kind, value in lines if kind == "o"), [])
    if len(fields) == 6 and all(_is_number(text, 20) for text in fields[1:3]):
        return int(fields[1]), int(fields[2])
    return 0, 0


def _address(lines: Sequence[tuple[str, str]]) -> str | None:
    value = next((value for kind, value in lines if kind == "c"), None)
    if value is None:
        return None
    fields = value.split()
    if len(fields) != 3 or fields[0] != "IN" or fields[1] not in ("IP4", "IP6"):
        raise ProtocolError(f"a connection looks like IN IP4 192.0.2.1, not {value[:60]!r}")
    return fields[2].partition("/")[0]  # a multicast address may have a time to live behind it


def _direction(lines: Sequence[tuple[str, str]]) -> str | None:
    return next((value for kind, value in reversed(lines) if kind == "a" and value in DIRECTIONS), None)


def _media(lines: Sequence[tuple[str, str]], address: str, direction: str) -> MediaLine:
    fields = lines[0][1].split()
    if len(fields) < 4 or not _is_number(fields[1].partition("/")[0], 5):
        raise ProtocolError(f"a media line looks like audio 40000 RTP/AVP 0 8, not {lines[0][1][:60]!r}")
    port = int(fields[1].partition("/")[0])
    formats = tuple(fields[3:])
    if port > 65535 or len(formats) > MAX_FORMATS:
        raise ProtocolError(f"a media line has a port up to 65535 and up to {MAX_FORMATS} formats")
    attributes = [value for kind, value in lines[1:] if kind == "a"]
    return MediaLine(
        kind=fields[0],
        address=_address(lines) or address,
        port=port,
        payloads=_payloads(formats, attributes) if fields[2].startswith("RTP/") else {},
        direction=_direction(lines) or direction,
        label=_attribute(attributes, "label"),
        ptime=_ptime(attributes),
        protocol=fields[2],
        formats=formats,
    )


def _payloads(formats: Sequence[str], attributes: Sequence[str]) -> dict[int, Codec]:
    named: dict[int, Codec] = {}
    for attribute in attributes:
        if attribute.startswith("rtpmap:"):
            number, codec = _rtpmap(attribute.removeprefix("rtpmap:"))
            named[number] = codec
    payloads: dict[int, Codec] = {}
    for text in formats:
        if not _is_number(text, 3) or int(text) > 127:
            raise ProtocolError(f"an RTP payload type is a number from 0 to 127, not {text[:20]!r}")
        known = named.get(int(text)) or STATIC.get(int(text))
        if known:
            payloads[int(text)] = known
    return payloads


def _rtpmap(text: str) -> tuple[int, Codec]:
    fields = text.split()
    if len(fields) != 2 or not _is_number(fields[0], 3) or int(fields[0]) > 127:
        raise ProtocolError(f"an rtpmap looks like 96 opus/48000/2, not {text[:60]!r}")
    return int(fields[0]), codec_of(fields[1])


def codec_of(text: str) -> Codec:
    """The codec that ``opus/48000/2`` names: the right-hand side of an ``rtpmap``.

    Raises:
        ProtocolError: it has no clock rate, or numbers that cannot be.
    """
    name, *numbers = text.split("/")
    if not name or len(numbers) not in (1, 2) or not all(_is_number(number, 6) for number in numbers):
        raise ProtocolError(f"a codec looks like PCMU/8000 or L16/16000/2, not {text[:60]!r}")
    rate, channels = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 1
    if not (rate and channels):
        raise ProtocolError(f"a codec's clock rate and channels are above 0: {text[:60]!r}")
    return Codec(name.upper(), rate, channels)


def _ptime(attributes: Sequence[str]) -> int | None:
    text = _attribute(attributes, "ptime")
    if text is None or not _is_number(text, 4) or not 0 < int(text) <= MAX_PTIME_MS:
        return None
    return int(text)


def _attribute(attributes: Sequence[str], name: str) -> str | None:
    prefix = f"{name}:"
    value = next((a.removeprefix(prefix) for a in attributes if a.startswith(prefix)), None)
    return value.strip() or None if value is not None else None


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _connection(address: str) -> str:
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"


def _media_lines(line: MediaLine, address: str) -> list[str]:
    formats = line.formats or tuple(map(str, line.payloads)) or ("0",)
    lines = [f"m={line.kind} {line.port} {line.protocol} {' '.join(formats)}"]
    if line.address and line.address != address:
        lines.append(f"c={_connection(line.address)}")
    for number, codec in line.payloads.items():
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        name = _NAMES.get(codec.name, codec.name)
        lines.append(f"a=rtpmap:{number} {name}/{codec.clock_rate}{channels}")
    if line.ptime is not None:
        lines.append(f"a=ptime:{line.ptime}")
    if line.label is not None:
        lines.append(f"a=label:{line.label}")
    return [*lines, f"a={line.direction}"]
