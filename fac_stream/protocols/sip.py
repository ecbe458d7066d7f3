"""SIP messages: bytes to requests and responses, and back. RFC 3261, sections 7, 18.3 and 25.

::

    a datagram ──────► parse ──► Request or Response ──encode──► bytes
    a stream's bytes ► SipStream ──► the same, one after the other

What a field means is not looked at here (``sip_fields.py``): only what is needed to tell messages apart.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fac_stream.errors import ProtocolError

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_FIELDS = 128
VERSION = "SIP/2.0"

_TOKEN = r"[A-Za-z0-9.!%*_+`'~-]+"  # noqa: S105 - the grammar's word, not a secret
_NAME = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) SIP/2\.0")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9]) (.*)")

_COMPACT = {
    "a": "accept-contact",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "s": "subject",
    "t": "to",
    "v": "via",
    "x": "session-expires",
}
"""One-letter names: RFC 3261, section 7.3.3, and the registry it began."""


class Fields:
    """Header fields in the order in which they came; names compare without regard to case.

    Args:
        fields: name and value of each; values hold no line ends.
    """

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple((name, value) for name, value in fields)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"Fields({self._fields!r})"

    def all(self, name: str) -> list[str]:
        """Every value under this name, one a line that came."""
        wanted = name.lower()
        return [value for field, value in self._fields if field.lower() == wanted]

    def first(self, name: str) -> str | None:
        """The first value under this name; None where there is none."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    uri: str
    fields: Fields
    body: bytes = b""

    def encode(self) -> bytes:
        """The message as it is sent; ``Content-Length`` is added."""
        return _encode(f"{self.method} {self.uri} {VERSION}", self.fields, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answers."""

    status: int
    reason: str
    fields: Fields
    body: bytes = b""

    def encode(self) -> bytes:
        """The message as it is sent; ``Content-Length`` is added."""
        return _encode(f"{VERSION} {self.status} {self.reason}", self.fields, self.body)


def parse(datagram: bytes) -> Request | Response | None:
    """Read the one message of a datagram; None for a keep-alive, which holds nothing but line ends.

    Bytes behind the announced length are dropped; no length means to the end (RFC 3261, section 18.3).

    Raises:
        ProtocolError: it is no SIP, is cut short, or is longer than any that is taken here.
    """
    datagram = datagram.lstrip(b"\r\n")
    if not datagram:
        return None
    head, end, body = datagram.partition(b"\r\n\r\n")
    if not end:
        raise ProtocolError("a SIP message has an empty line between its head and its body")
    fields, start = _head(head)
    length = _length(fields)
    if length is None:
        length = len(body)
    if len(body) < length:
        raise ProtocolError(f"the message announces {length} bytes of body and has {len(body)}")
    return _message(start, fields, body[:length])


class SipStream:
    """The messages of one TCP connection; raises only ``ProtocolError``, after which it must not be used.

    Where the bytes are cut makes no difference.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._looked = 0
        """Bytes of the buffer that hold no end of a head."""
        self._head: tuple[Fields, str, int] | None = None
        """Of a message whose body is still to come: fields, first line, bytes of body."""

    def receive(self, data: bytes) -> Iterator[Request | Response]:
        """Take bytes; yield the messages that they complete, those before a fault first.

        Raises:
            ProtocolError: no SIP, or no ``Content-Length``, or longer than any that is taken here.
        """
        self._buffer += data
        while message := self._next():
            yield message

    def _next(self) -> Request | Response | None:
        if self._head is None:
            self._head = self._read_head()
        if self._head is None:
            return None
        fields, start, length = self._head
        if len(self._buffer) < length:
            return None
        message = _message(start, fields, bytes(self._buffer[:length]))
        del self._buffer[:length]
        self._head = None
        return message

    def _read_head(self) -> tuple[Fields, str, int] | None:
        buffer = self._buffer
        if not self._looked:
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]  # keep-alives: RFC 5626, section 3.5.1
        end = buffer.find(b"\r\n\r\n", max(0, self._looked - 3))
        if max(end, len(buffer) if end < 0 else 0) > MAX_HEAD_BYTES:
            raise ProtocolError(f"the head of a message is longer than {MAX_HEAD_BYTES} bytes")
        if end < 0:
            self._looked = len(buffer)
            return None
        fields, start = _head(bytes(buffer[:end]))
        length = _length(fields)
        if length is None:
            raise ProtocolError("a message on a stream needs a Content-Length")
        del buffer[: end + 4]
        self._looked = 0
        return fields, start, length


def _head(head: bytes) -> tuple[Fields, str]:
    if len(head) > MAX_HEAD_BYTES:
        raise ProtocolError(f"the head of a message is longer than {MAX_HEAD_BYTES} bytes")
    # Names in other alphabets than UTF-8's are damaged rather than refused: nothing hangs on them.
    start, *lines = head.decode("utf-8", "replace").split("\r\n")
    if len(lines) > MAX_FIELDS:
        raise ProtocolError(f"a message has at most {MAX_FIELDS} lines of header fields, not {len(lines)}")
    if b"\0" in head:
        raise ProtocolError("a head holds no NUL")
    fields: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):
            if not fields:
                raise ProtocolError("the first header field begins with a space")
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {_text(line)}".strip())
        else:
            name, colon, value = line.partition(":")
            name = name.rstrip(" \t")
            if not colon or not _NAME.fullmatch(name):
                raise ProtocolError(f"a header field looks like Name: value, not {line[:40]!r}")
            fields.append((_COMPACT.get(name.lower(), name), _text(value)))
    return Fields(fields), start


def _text(value: str) -> str:
    if "\r" in value or "\n" in value:
        # What a field carries comes back in answers: it must not be able to end a line there.
        raise ProtocolError("a header field holds a lone line end")
    return value.strip(" \t")


def _length(fields: Fields) -> int | None:
    values = set(fields.all("content-length"))
    if not values:
        return None
    text = values.pop()
    if values or not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise ProtocolError(f"a Content-Length is one number, not {text[:20]!r}")
    if int(text) > MAX_BODY_BYTES:
        raise ProtocolError(f"a body has at most {MAX_BODY_BYTES} bytes, not {text}")
    return int(text)


def _message(start: str, fields: Fields, body: bytes) -> Request | Response:
    if len(body) > MAX_BODY_BYTES:
        raise ProtocolError(f"a body has at most {MAX_BODY_BYTES} bytes, not {len(body)}")
    if line := _REQUEST_LINE.fullmatch(start):
        return Request(line[1], line[2], fields, body)
    if line := _STATUS_LINE.fullmatch(start):
        return Response(int(line[1]), line[2], fields, body)
    raise ProtocolError(f"neither a request nor a response of SIP/2.0 begins with {start[:60]!r}")


def _encode(start: str, fields: Fields, body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in fields), f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
