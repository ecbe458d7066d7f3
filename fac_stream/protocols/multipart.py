"""Bodies of several parts: RFC 2046, section 5.1, as SIP carries them (RFC 5621)."""

import re
from dataclasses import dataclass

from fac_stream.errors import ProtocolError
from fac_stream.protocols.sip_fields import content_type

MAX_PARTS = 16
MAX_FIELDS = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One part."""

    kind: str
    """Its media type in small letters, without parameters."""
    body: bytes


def parts(body: bytes, boundary: str) -> tuple[Part, ...]:
    """Cut a body into its parts; what stands before the first and after the last is nobody's.

    A last boundary that is missing, or lacks its final ``--``, is forgiven: recording clients forget it.

    Raises:
        ProtocolError: no boundary, no part, too many parts, or one whose head cannot be read.
    """
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise ProtocolError("a multipart body needs a boundary of 1 to 70 characters in its Content-Type")
    # The line end before a boundary belongs to it; the first one may stand at the very beginning.
    mark = re.compile(rb"\r\n--" + re.escape(boundary.encode()) + rb"(--|)[ \t]*(?=\r\n|\Z)")
    pieces = mark.split(b"\r\n" + body)
    found: list[Part] = []
    for last, chunk in zip(pieces[1::2], pieces[2::2], strict=True):
        if last:
            break
        if len(found) == MAX_PARTS:
            raise ProtocolError(f"a body has at most {MAX_PARTS} parts")
        if chunk.strip():
            found.append(_part(chunk.removeprefix(b"\r\n")))
    if not found:
        raise ProtocolError("the multipart body has no part between its boundaries")
    return tuple(found)


def _part(text: bytes) -> Part:
    if text.startswith(b"\r\n"):
        return Part("text/plain", text[2:])  # RFC 2046, section 5.1: a part without a head
    head, end, body = text.partition(b"\r\n\r\n")
    if not end:
        raise ProtocolError("a part of the body has no empty line between its head and its content")
    lines = head.decode("utf-8", "replace").split("\r\n")
    if len(lines) > MAX_FIELDS:
        raise ProtocolError(f"a part of the body has at most {MAX_FIELDS} header fields")
    fields = dict(_field(line) for line in lines if line[:1] not in (" ", "\t"))
    encoding = fields.get("content-transfer-encoding", "binary").lower()
    if encoding not in ("binary", "8bit", "7bit"):
        raise ProtocolError(f"a part of the body is encoded as {encoding[:20]!r}: send it as binary")
    return Part(content_type(fields.get("content-type", "text/plain"))[0], body)


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise ProtocolError(f"a header field looks like Name: value, not {line[:40]!r}")
    return name.strip().lower(), value.strip()
