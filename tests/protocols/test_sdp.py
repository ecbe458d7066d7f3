import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.errors import ProtocolError
from fac_stream.protocols.sdp import DIRECTIONS, Description, MediaLine, answer, codec_of, parse

GOLDEN = sorted((Path(__file__).parent / "data" / "sdp").glob("*.json"))


def text_of(lines):
    """The description of a golden file."""
    return lines["text"] if isinstance(lines, dict) else "".join(f"{line}\r\n" for line in lines)


def golden(name):
    """The description of a golden file by its name."""
    path = Path(__file__).parent / "data" / "sdp" / f"{name}.json"
    return text_of(json.loads(path.read_text(encoding="utf-8"))["lines"])


def plain(line):
    """A media line as the golden files write it."""
    return {
        "kind": line.kind,
        "address": line.address,
        "port": line.port,
        "payloads": {str(n): f"{c.name}/{c.clock_rate}/{c.channels}" for n, c in line.payloads.items()},
        "decodable": list(line.decodable),
        "direction": line.direction,
        "label": line.label,
        "ptime": line.ptime,
    }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_descriptions(path):
    """Descriptions written from RFC 8866 and 3264 give their media; what is broken is refused in words."""
    wanted = json.loads(path.read_text(encoding="utf-8"))
    if "error" in wanted:
        with pytest.raises(ProtocolError, match=wanted["error"]):
            parse(text_of(wanted["lines"]))
    else:
        assert [plain(line) for line in parse(text_of(wanted["lines"])).media] == wanted["media"]


def test_there_are_golden_descriptions():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 20


def test_the_payload_table_is_that_of_rfc_3551():
    """Table 4 of RFC 3551: the numbers that mean something without a description, and their clocks."""
    table = {number: (codec.name, codec.clock_rate, codec.channels) for number, codec in STATIC.items()}

    assert table[0] == ("PCMU", 8000, 1)
    assert table[8] == ("PCMA", 8000, 1)
    assert table[9] == ("G722", 8000, 1)
    assert table[10] == ("L16", 44100, 2)
    assert table[11] == ("L16", 44100, 1)
    assert table[13] == ("CN", 8000, 1)
    assert [n for n, codec in STATIC.items() if codec.decodable] == [0, 8, 9, 10, 11]
    assert STATIC[9].sample_rate == 16_000


def test_an_answer_takes_what_can_be_decoded():
    """Of a desk phone's offer: the decodable codecs and key events, our port and address, to receive only."""
    said = answer(parse(golden("offer_desk_phone")), "198.51.100.7", [40000], "recvonly").format()

    assert said.split("\r\n") == [
        "v=0",
        "o=- 2890844526 2890844527 IN IP4 198.51.100.7",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
        "m=audio 40000 RTP/AVP 9 0 8 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=recvonly",
        "",
    ]


def test_an_answer_has_a_line_for_each_line():
    """RFC 3264, section 6: as many lines in the same order; refused ones have port 0."""
    offer = parse(golden("offer_video_too"))
    said = parse(answer(offer, "198.51.100.7", [40000, 40002, 40004], "recvonly").format())

    assert [(line.kind, line.port, line.formats) for line in said.media] == [
        ("audio", 40000, ("0",)),
        ("video", 0, ("31",)),
        ("image", 0, ("t38",)),
    ]


def test_an_encrypted_line_is_refused():
    """Keys are nothing we could use: the line is refused rather than heard as noise."""
    said = answer(parse(golden("offer_encrypted")), "198.51.100.7", [40000], "recvonly")

    assert said.media[0].port == 0
    assert said.media[0].protocol == "RTP/SAVP"


def test_labels_come_back():
    """RFC 7866: the recorder answers with the labels it was given."""
    said = answer(parse(golden("offer_siprec")), "2001:db8::1", [40000, 40002], "recvonly")

    assert [(line.label, line.direction, line.port) for line in said.media] == [
        ("1", "recvonly", 40000),
        ("2", "recvonly", 40002),
    ]
    assert "IN IP6 2001:db8::1" in said.format()


@pytest.mark.parametrize(
    ("offered", "ours"),
    [("sendrecv", "recvonly"), ("sendonly", "recvonly"), ("recvonly", "inactive"), ("inactive", "inactive")],
)
def test_who_does_not_send_is_not_waited_for(offered, ours):
    """RFC 3264, section 6.1: the answer's direction fits the offer's."""
    offer = parse(f"v=0\nm=audio 4000 RTP/AVP 0\na={offered}\n")

    assert answer(offer, "198.51.100.7", [40000], "recvonly").media[0].direction == ours


def test_ports_must_be_as_many_as_lines():
    """A port too few would shift every line after it."""
    with pytest.raises(ProtocolError, match="as many ports"):
        answer(parse(golden("offer_siprec")), "198.51.100.7", [40000], "recvonly")


@pytest.mark.parametrize(
    "text", ["", "PCMU", "PCMU/", "/8000", "L16/16000/2/3", "L16/-1", "L16/1e3", "L16/٣"]
)
def test_bad_codecs_are_refused(text):
    """A codec of the configuration or an rtpmap is a name and a rate, in digits."""
    with pytest.raises(ProtocolError):
        codec_of(text)


WORDS = st.sampled_from(
    [
        "v=0",
        "m=audio 4000 RTP/AVP 0 96",
        "a=rtpmap:96 L16/16000",
        "c=IN IP4 192.0.2.1",
        "a=label:1",
        "a=sendonly",
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(WORDS | st.text(max_size=30), max_size=20).map("\r\n".join) | st.text(max_size=300))
def test_any_text_is_a_description_or_refused(text):
    """The parser gives a description or raises ProtocolError; what it gave can be answered and read again."""
    try:
        offer = parse(text)
    except ProtocolError:
        return
    said = answer(offer, "198.51.100.7", [40000] * len(offer.media), "recvonly")
    again = parse(said.format())
    assert [line.port for line in again.media] == [line.port for line in said.media]
    assert [line.payloads for line in again.media] == [line.payloads for line in said.media]


TOKENS = st.text("abcdefXYZ0123456789-_.", min_size=1, max_size=12)
PAYLOADS = st.dictionaries(
    st.integers(0, 127),
    st.builds(Codec, TOKENS.map(str.upper), st.integers(1, 96_000), st.integers(1, 2)),
    min_size=1,
    max_size=5,
)
LINES = st.builds(
    lambda payloads, port, label, ptime, direction: MediaLine(
        "audio", "192.0.2.1", port, payloads, direction, label, ptime, "RTP/AVP", tuple(map(str, payloads))
    ),
    PAYLOADS,
    st.integers(0, 65535),
    st.none() | TOKENS,
    st.none() | st.integers(1, 1000),
    st.sampled_from(DIRECTIONS),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=5), st.integers(0, 2**63), st.integers(0, 2**63))
def test_what_is_written_is_read_the_same(lines, session_id, version):
    """A description survives being written and read."""
    written = Description(tuple(lines), "192.0.2.1", session_id, version)

    assert parse(written.format()) == written
