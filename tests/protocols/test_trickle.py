from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.trickle import MAX_CANDIDATES, MAX_CHARACTERS, Candidate, Fragment, parse

DATA = Path(__file__).parent / "data" / "whip"


def fragment(name):
    """A golden fragment."""
    return (DATA / f"{name}.sdpfrag").read_text()


def test_candidates_are_read_with_their_media_line():
    """RFC 9725, section 4.3.2: credentials, and each candidate for its a=mid."""
    read = parse(fragment("candidates"))

    assert (read.ufrag, read.password) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert [candidate.mid for candidate in read.candidates] == ["0", "0"]
    assert read.candidates[0].text.startswith("1387637174 1 udp 2122260223 192.0.2.1 61764 typ host")


def test_order_within_a_media_line_does_not_matter():
    """Browsers put candidates before the mid."""
    lines = ["m=audio 9 X 0", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host", "a=mid:0"]

    assert parse("\r\n".join(lines)).candidates == (Candidate("0", "1 1 udp 1 192.0.2.1 9 typ host"),)


def test_restart_has_credentials_only():
    """RFC 9725, section 4.3.3: a fragment may hold no candidate at all."""
    assert parse(fragment("restart")) == Fragment("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k", ())
    assert parse("") == Fragment("", "", ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (fragment("no-mid"), "a=mid"),
        (fragment("truncated"), "no line"),
        ("a=mid:0\n" + "a=candidate:1\n" * (MAX_CANDIDATES + 1), "at most"),
        ("a" * (MAX_CHARACTERS + 1), "at most"),
    ],
)
def test_bad_fragments_are_refused(text, words):
    """What is too long, cut off or for nobody is refused in words."""
    with pytest.raises(ProtocolError, match=words):
        parse(text)


@given(st.text() | st.lists(st.sampled_from(fragment("candidates").splitlines())).map("\n".join))
def test_any_text_is_read_or_refused(text):
    """Nothing but ProtocolError, whatever comes."""
    try:
        read = parse(text)
    except ProtocolError:
        return
    assert len(read.candidates) <= MAX_CANDIDATES
