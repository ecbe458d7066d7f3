"""RTP packets, RFC 3550, section 5.1.

::

    |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    |                           timestamp                           |
    |                             SSRC                              |
    |   CC times CSRC, then an extension if X, the payload, padding if P
"""

import struct
from dataclasses import dataclass

from fac_stream.errors import ProtocolError

_HEADER = struct.Struct("!BBHII")
_RTCP = range(192, 224)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, without contributing sources, extension and padding."""

    payload_type: int
    sequence: int
    """16 bits; wraps."""
    timestamp: int
    """32 bits, in ticks of the codec's clock; wraps."""
    ssrc: int
    payload: bytes
    marker: bool = False
    """Begins a talk spurt, where a codec is silent between them."""


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram on a port for RTP is RTCP, told by its packet type: RFC 5761, section 4."""
    return len(data) >= 2 and data[0] >> 6 == 2 and data[1] in _RTCP


def parse(data: bytes) -> Packet:
    """Read a datagram that is not RTCP.

    Raises:
        ProtocolError: it is no RTP packet of version 2, or ends too early.
    """
    if len(data) < _HEADER.size:
        raise ProtocolError(f"a datagram of {len(data)} bytes is no RTP packet: its header has 12")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise ProtocolError("no RTP packet of version 2")
    start = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            raise ProtocolError("an RTP packet ends inside its extension")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 0x20:
        end -= data[-1]
        if not data[-1]:
            raise ProtocolError("an RTP packet is padded by no byte")
    if start > end:
        raise ProtocolError("an RTP packet ends inside its header, or is all padding and more")
    return Packet(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second & 0x80))
