import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.sip import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Fields,
    Request,
    Response,
    SipStream,
    parse,
)
from fac_stream.protocols.sip_fields import Address, address, call_of, content_type, values, via

GOLDEN = sorted((Path(__file__).parent / "data" / "sip").glob("*.json"))
INVITE = """\
INVITE sip:srs@192.0.2.9 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1
Via: SIP/2.0/TCP src.example.com;branch=z9hG4bK0
From: <sip:src@192.0.2.1>;tag=theirs
To: <sip:srs@192.0.2.9>
Call-ID: call@192.0.2.1
CSeq: 1 INVITE
Content-Length: 0

"""


def crlf(text):
    """Bytes as SIP wants them."""
    return text.replace("\n", "\r\n").encode()


def golden(path):
    """A file and the bytes that it stands for."""
    read = json.loads(path.read_text(encoding="utf-8"))
    return read, "\r\n".join([*read["lines"], "", read["body"]]).encode()


def plain(message):
    """A message as the files write it."""
    start = (
        {"method": message.method, "uri": message.uri}
        if isinstance(message, Request)
        else {"status": message.status, "reason": message.reason}
    )
    return start | {"fields": [list(field) for field in message.fields], "body": message.body.decode()}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_datagrams(path):
    """A recorded datagram is the recorded message, or refused for the recorded reason."""
    read, data = golden(path)
    if not read.get("datagram", True):
        return
    if "error" in read:
        with pytest.raises(ProtocolError, match=read["error"]):
            parse(data)
    else:
        assert plain(parse(data)) == read["expected"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_streams(path):
    """The same holds for bytes of a stream, which must say how long they are."""
    read, data = golden(path)
    if not read.get("stream", True):
        return
    if "error" in read:
        with pytest.raises(ProtocolError, match=read["error"]):
            list(SipStream().receive(data))
    else:
        assert plain(next(SipStream().receive(data))) == read["expected"]


def test_there_are_golden_messages():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 20


def test_keep_alives_are_no_messages():
    """Line ends between messages keep a connection open and mean nothing."""
    assert parse(b"\r\n\r\n") is None

    stream = SipStream()

    assert list(stream.receive(b"\r\n\r\n")) == []
    assert [message.method for message in stream.receive(crlf(INVITE) + b"\r\n\r\n" + crlf(INVITE))] == [
        "INVITE",
        "INVITE",
    ]


def test_what_never_ends_is_refused():
    """A head or a body without end fills no memory."""
    stream = SipStream()
    lines = b"Subject: x\r\n" * (MAX_HEAD_BYTES // 12)
    assert list(stream.receive(lines)) == []
    with pytest.raises(ProtocolError, match="head of a message is longer"):
        list(stream.receive(lines))
    with pytest.raises(ProtocolError, match="at most"):
        parse(crlf("BYE sip:a@b SIP/2.0\n\n") + bytes(MAX_BODY_BYTES + 1))


def everything(pieces):
    """The messages of a stream in pieces, and whether it was refused at last."""
    stream, messages = SipStream(), []
    try:
        for piece in pieces:
            for message in stream.receive(piece):
                messages.append(plain(message))  # noqa: PERF401 - those before a fault count
    except ProtocolError:
        return messages, True
    return messages, False


WHOLE = [crlf(INVITE), crlf(INVITE.replace("Content-Length: 0\n", "l: 5\n")) + b"hello", b"\r\n\r\n"]
STREAMS = st.lists(st.sampled_from([*WHOLE, b"junk\r\n\r\n"]), max_size=6).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=20))
def test_where_the_bytes_are_cut_makes_no_difference(data, cuts):
    """A TCP stream in any pieces gives the same messages, and is refused at the same place."""
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    assert everything([data[a:b] for a, b in itertools.pairwise(bounds)]) == everything([data])


LINES = st.sampled_from(
    [*INVITE.splitlines(), "l: 4", " folded", "To", "CSeq: 4294967296 BYE", ""]
) | st.text(max_size=30)
NOISE = st.one_of(
    st.binary(max_size=200),
    st.lists(LINES, max_size=12).map(lambda lines: "\r\n".join([*lines, "", ""]).encode()),
    st.lists(LINES, max_size=12).map(
        lambda lines: "\r\n".join(["BYE sip:a@b SIP/2.0", *lines, "", "v=0"]).encode()
    ),
)


@settings(max_examples=500, deadline=None)
@given(NOISE)
def test_whatever_comes_is_accepted_or_refused(data):
    """Datagrams and streams give messages that can be sent on, or ProtocolError; nothing else."""
    for read in (lambda: [parse(data)], lambda: list(SipStream().receive(data))):
        try:
            messages = read()
        except ProtocolError:
            continue
        for message in filter(None, messages):
            # Content-Length is said by encode, the rest comes back as it was.
            again = parse(message.encode())
            assert again.body == message.body
            assert all("\r" not in value and "\n" not in value for _, value in again.fields)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from('<>";,:=\\ \tsip@[]/.AU2z0') | st.characters(), max_size=60))
def test_field_values_are_read_or_refused(text):
    """Whatever stands in a field: an address, a Via, a type, or ProtocolError."""
    fields = Fields([("Via", text)])
    for read in (address, via, content_type, lambda _: values(fields, "Via")):
        try:
            read(text)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '"A. G. \\"Bell\\"" <sip:agb@example.com;user=phone> ;tag=a48s',
            Address("sip:agb@example.com;user=phone", 'A. G. "Bell"', {"tag": "a48s"}),
        ),
        ("sip:+1212@example.com;tag=887s", Address("sip:+1212@example.com", "", {"tag": "887s"})),
        (
            "Anonymous <sip:c8@anon.example.com>;TAG=hyh8",
            Address("sip:c8@anon.example.com", "Anonymous", {"tag": "hyh8"}),
        ),
        ("<sip:src@192.0.2.1>;+sip.src", Address("sip:src@192.0.2.1", "", {"+sip.src": ""})),
        ('"Smith, John; <x>" <sip:j@b>', Address("sip:j@b", "Smith, John; <x>")),
    ],
)
def test_addresses(text, expected):
    """The forms of RFC 3261, section 20: quotes, brackets, and parameters that belong to the field."""
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "<sip:a@b", "<>", "Bob", '"Bob" <sip:a b>', "<sip:a@b> x"])
def test_what_is_no_address_is_refused(text):
    """Nothing is guessed; a bare word counts as a URI."""
    if text == "Bob":
        assert address(text).uri == "Bob"
    else:
        with pytest.raises(ProtocolError):
            address(text)


def test_vias():
    """Host, port and branch of a hop; a branch without the magic cookie names nothing."""
    hop = via("SIP / 2.0 / udp [2001:db8::1]:5061 ;branch=z9hG4bK9 ;rport")
    assert (hop.transport, hop.host, hop.port, hop.branch) == ("UDP", "2001:db8::1", 5061, "z9hG4bK9")
    assert via("SIP/2.0/TCP example.com;branch=1").branch is None
    for text in (
        "SIP/2.0/UDP",
        "SIP/1.0/UDP a",
        "SIP/2.0/UDP a:0",
        "SIP/2.0/UDP a:99999",
        "UDP a",
        "SIP/2.0/UDP a b",
    ):
        with pytest.raises(ProtocolError):
            via(text)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE", "CSeq: 2147483648 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: one INVITE"),
        ("Call-ID: call@192.0.2.1", "Call-ID: two words"),
        ("Call-ID: call@192.0.2.1", "Call-ID: a\nCall-ID: b"),
        (";tag=theirs", ""),
        ("To: <sip:srs@192.0.2.9>", "Subject: none"),
        ("Via:", "X-Via:"),
    ],
)
def test_requests_without_their_fields_are_refused(line, instead):
    """What tells dialogs and transactions apart must be there, once."""
    assert call_of(parse(crlf(INVITE))).call_id == "call@192.0.2.1"
    with pytest.raises(ProtocolError):
        call_of(parse(crlf(INVITE.replace(line, instead))))


def test_responses_are_messages_too():
    """What a client answers to our BYE."""
    assert parse(Response(200, "OK", Fields([("CSeq", "1 BYE")])).encode()) == Response(
        200, "OK", Fields([("CSeq", "1 BYE"), ("Content-Length", "0")])
    )
