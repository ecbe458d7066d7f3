"""What the header fields of SIP mean that a recording server reads: RFC 3261, section 20 and 25."""

import re
from dataclasses import dataclass, field

from fac_stream.errors import ProtocolError
from fac_stream.protocols.sip import Fields, Request

MAX_VALUES = 32
"""Of one field; a Via is added by every proxy on the way."""

_COOKIE = "z9hG4bK"
_SENT_BY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:;\[\]]+)(?:\s*:\s*([0-9]{1,5}))?")
_CSEQ = re.compile(r"([0-9]{1,10})[ \t]+([A-Za-z0-9.!%*_+`'~-]+)")


@dataclass(frozen=True, slots=True)
class Address:
    """A name and a URI with parameters: From, To, Contact."""

    uri: str
    display: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    """Of the field, not of the URI; names in small letters, empty where there is no value."""

    @property
    def tag(self) -> str:
        """The half of a dialog's name that this side gave it; empty where it has none yet."""
        return self.parameters.get("tag", "")


@dataclass(frozen=True, slots=True)
class Via:
    """One hop that a request took."""

    transport: str
    """In capitals."""
    host: str
    port: int | None
    parameters: dict[str, str]
    text: str
    """As it came."""

    @property
    def branch(self) -> str | None:
        """Names the transaction; None where the client is older than RFC 3261."""
        branch = self.parameters.get("branch", "")
        return branch if branch.startswith(_COOKIE) else None


@dataclass(frozen=True, slots=True)
class Call:
    """What every request says about the dialog it belongs to."""

    call_id: str
    source: Address
    """From: who sends this request."""
    target: Address
    """To."""
    sequence: int
    method: str
    via: Via
    """The last hop: where answers go."""


def call_of(request: Request) -> Call:
    """The fields that every request must have.

    Raises:
        ProtocolError: one is missing, comes twice or cannot be read.
    """
    fields = request.fields
    number = _CSEQ.fullmatch(_one(fields, "CSeq"))
    if not number or int(number[1]) >= 2**31:
        raise ProtocolError("CSeq is a number below 2**31 and a method")
    if number[2] != request.method:
        raise ProtocolError(f"CSeq names {number[2]}, the request line {request.method}")
    call_id = _one(fields, "Call-ID")
    if not call_id or " " in call_id:
        raise ProtocolError("a Call-ID is one word")
    vias = values(fields, "Via")
    if not vias:
        raise ProtocolError("a request needs a Via")
    source = address(_one(fields, "From"))
    if not source.tag:
        raise ProtocolError("From needs a tag")
    return Call(call_id, source, address(_one(fields, "To")), int(number[1]), number[2], via(vias[0]))


def values(fields: Fields, name: str) -> list[str]:
    """Every value of a field that may have several, whether on lines of their own or with commas between.

    Raises:
        ProtocolError: more than anybody needs.
    """
    found = [part for line in fields.all(name) for part in _split(line, ",") if part]
    if len(found) > MAX_VALUES:
        raise ProtocolError(f"{name} has at most {MAX_VALUES} values, not {len(found)}")
    return found


def tokens(fields: Fields, name: str) -> list[str]:
    """Words of a list such as Require or Supported, in small letters.

    Raises:
        ProtocolError: more than anybody needs.
    """
    return [value.lower() for value in values(fields, name)]


def address(text: str) -> Address:
    """Read ``"Name" <sip:uri>;tag=1`` or ``sip:uri;tag=1``.

    Without brackets, every parameter is the field's (RFC 3261, section 20).

    Raises:
        ProtocolError: it is neither.
    """
    before, *parameters = _split(text, ";")
    display, bracket, uri = before.rpartition("<")
    if bracket:
        if not uri.endswith(">"):
            raise ProtocolError(f"an address with < ends with >, unlike {text[:60]!r}")
        uri = uri[:-1]
    else:
        display, uri = "", before
    uri = uri.strip()
    if not uri or any(character in uri for character in ' <>"'):
        raise ProtocolError(f'an address looks like "Name" <sip:user@host>, not {text[:60]!r}')
    return Address(uri, _unquoted(display), _parameters(parameters))


def via(text: str) -> Via:
    """Read ``SIP/2.0/UDP host:port;branch=…``.

    Raises:
        ProtocolError: it is none.
    """
    before, *parameters = _split(text, ";")
    words = before.replace(" /", "/").replace("/ ", "/").split(maxsplit=1)
    protocol = words[0].split("/") if words else []
    sent_by = _SENT_BY.fullmatch(words[1]) if len(words) == 2 else None
    if [part.upper() for part in protocol[:2]] != ["SIP", "2.0"] or len(protocol) != 3 or not sent_by:
        raise ProtocolError(f"a Via looks like SIP/2.0/UDP host:port;branch=…, not {text[:60]!r}")
    port = int(sent_by[2]) if sent_by[2] else None
    if port is not None and not 0 < port < 65536:
        raise ProtocolError(f"a Via names a port from 1 to 65535, not {port}")
    return Via(protocol[2].upper(), sent_by[1].strip("[]"), port, _parameters(parameters), text)


def content_type(text: str) -> tuple[str, dict[str, str]]:
    """``type/subtype`` in small letters, and its parameters."""
    kind, *parameters = _split(text, ";")
    return kind.strip().lower(), _parameters(parameters)


def _one(fields: Fields, name: str) -> str:
    found = fields.all(name)
    if len(found) != 1:
        raise ProtocolError(f"a request needs {name} once, not {len(found)} times")
    return found[0]


def _parameters(parts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        found.setdefault(name.strip().lower(), _unquoted(value))
    return found


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _split(text: str, separator: str) -> list[str]:
    """Cut at separators that stand neither in quotes nor in angle brackets."""
    parts: list[str] = []
    start, quoted, bracket, escaped = 0, False, False, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character in "<>":
            bracket = character == "<"
        elif character == separator and not bracket:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]
