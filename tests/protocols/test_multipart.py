import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.multipart import Part, parts


def crlf(text):
    """Bytes as SIP wants them."""
    return text.replace("\n", "\r\n").encode()


def test_parts_of_a_body():
    """What stands around them is nobody's; a line end before a boundary is its own; the last may miss."""
    text = "preamble\n--b\nContent-Type: Application/SDP; x=y\n\nv=0\n--b \n\nplain\n--bc\n--b--\nepilogue"
    expected = (Part("application/sdp", b"v=0"), Part("text/plain", b"plain\r\n--bc"))
    assert parts(crlf(text), "b") == expected
    assert parts(crlf("--b\nContent-Type: a/b\n\nx\n--b\n"), "b") == (Part("a/b", b"x"),)


@pytest.mark.parametrize(
    ("text", "boundary", "reason"),
    [
        ("--b\n\nx\n--b--", "", "needs a boundary"),
        ("--b\n\nx\n--b--", "c", "no part"),
        ("--b--", "b", "no part"),
        ("--b\nContent-Type: a/b\nx\n--b--", "b", "no empty line"),
        ("--b\nContent-Type a/b\n\nx\n--b--", "b", "looks like Name: value"),
        ("--b\nContent-Transfer-Encoding: base64\n\neA==\n--b--", "b", "send it as binary"),
        ("--b\n\nx\n" * 17, "b", "at most 16 parts"),
    ],
)
def test_bodies_that_cannot_be_cut_are_refused(text, boundary, reason):
    """With the reason."""
    with pytest.raises(ProtocolError, match=reason):
        parts(crlf(text), boundary)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"--b", b"--b--", b"\r\n", b"Content-Type: a/b", b":", b"x"]) | st.binary(max_size=9)
    ),
    st.sampled_from(["b", "", "bé"]),
)
def test_any_body_is_cut_or_refused(pieces, boundary):
    """Parts or ProtocolError."""
    try:
        assert all(isinstance(part, Part) for part in parts(b"".join(pieces), boundary))
    except ProtocolError:
        return
