import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.siprec_legs import call_id_of, describe, fresh, name_legs
from fac_stream.protocols.siprec_metadata import Recording
from fac_stream.protocols.siprec_metadata import parse as read_metadata
from tests.peers.siprec import metadata

DATA = Path(__file__).parent / "data" / "siprec"
GOLDEN = sorted(DATA.glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_metadata(path):
    """A recorded document tells the recorded people, streams and legs, or is refused for its reason."""
    expected = json.loads(path.read_text(encoding="utf-8"))
    document = path.with_suffix(".xml").read_bytes()
    if "error" in expected:
        with pytest.raises(ProtocolError, match=expected["error"]):
            read_metadata(document)
        return
    recording = read_metadata(document)
    people = [[person.aor, person.name, person.calling] for person in recording.participants.values()]
    assert people == expected["participants"]
    assert recording.complete is expected["complete"]
    assert {label: list(recording.speakers(label)) for label in expected["speakers"]} == expected["speakers"]
    labels = list(expected["legs"])
    assert name_legs(recording, labels, ()) == list(expected["legs"].values())
    if "agents" in expected:
        assert name_legs(recording, labels, expected["agents"]) == list(expected["agents_legs"].values())


def test_there_is_golden_metadata():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 12


TAGS = st.sampled_from(
    [
        b"<recording>",
        b"</recording>",
        b'<participant participant_id="a">',
        b"</participant>",
        b'<stream stream_id="s"><label>1</label></stream>',
        b'<participantstreamassoc participant_id="a"><send>s</send></participantstreamassoc>',
        b"<!DOCTYPE x>",
        b"<![CDATA[x]]>",
        b"&amp;",
        b"<?xml version='1.0' encoding='utf-16'?>",
        b"<?xml version='1.0' encoding='x'?>",
        b"<a:b xmlns:a='c'/>",
        b"<a:b/>",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(TAGS | st.binary(max_size=20), max_size=12).map(b"".join))
def test_any_metadata_is_read_or_refused(document):
    """A recording whose legs can be named, or ProtocolError."""
    try:
        recording = read_metadata(document)
    except ProtocolError:
        return
    assert len(set(name_legs(recording, ["1", "2", None], ("a*",)))) == 3
    json.dumps(describe(recording, [("p1", "1")], "id", "sip:a@b"), allow_nan=False)


def test_partial_metadata_is_added():
    """What a change leaves out stays; who left no longer speaks."""
    whole = read_metadata(metadata(["1", "2"]).encode())
    one, other = (
        read_metadata(metadata(["1"]).encode()),
        read_metadata(metadata(["2"], mode="partial").encode()),
    )
    assert one.updated(other) == whole
    assert whole.updated(one) == one
    left = read_metadata((DATA / "partial.xml").read_bytes().replace(b'"a"', b'"part-1"'))
    assert whole.updated(left).speakers("1") == ()
    assert whole.updated(left).speakers("2") == ("part-2",)
    document = (DATA / "partial_who_left.xml").read_bytes()
    for name, known in (
        (b'"a"', b'"part-2"'),
        (b'"b"', b'"part-3"'),
        (b"bob@example", b"702@agents.example"),
    ):
        document = document.replace(name, known)
    document = document.replace(b">s<", b">stream-2<").replace(b'"s"', b'"stream-2"').replace(b">1<", b">2<")
    passed_on = whole.updated(read_metadata(document))
    assert passed_on.speakers("2") == ("part-3",)
    assert name_legs(passed_on, ["1", "2"], ("*@agents.example.com",)) == ["caller", "agent"]
    crowd = [f'<stream stream_id="{n}"/>' for n in range(64)]
    many = [
        f"<recording><datamode>partial</datamode>{''.join(crowd)}</recording>".replace('="', f'="{prefix}')
        for prefix in "ab"
    ]
    with pytest.raises(ProtocolError, match="more than 64"):
        read_metadata(many[0].encode()).updated(read_metadata(many[1].encode()))


def test_agents_are_known_by_their_addresses():
    """By the part before @ or the whole; two agents, or none, are nobody in particular."""
    recording = read_metadata(metadata(["1", "2"]).encode())
    labels = ["1", "2"]
    assert name_legs(recording, labels, ["7??"]) == ["caller", "agent"]
    assert name_legs(recording, labels, ["*@AGENTS.example.com"]) == ["caller", "agent"]
    assert name_legs(recording, labels, ["*"]) == ["p1", "p2"]
    assert name_legs(recording, labels, ["8??"]) == ["p1", "p2"]
    assert name_legs(recording, ["2", None, "1"], ["7??"]) == ["agent", "p2", "caller"]
    assert name_legs(Recording(), [None, None], ["7??"]) == ["p1", "p2"]


def test_what_is_told_of_a_call():
    """Ids, names and addresses of the people, by leg; a Call-ID becomes a call id."""
    recording = read_metadata(metadata(["1"]).encode())
    assert describe(recording, [("caller", "1"), ("p2", "2")], "a@b", "sip:src@192.0.2.1") == {
        "sip_call_id": "a@b",
        "recording_client": "sip:src@192.0.2.1",
        "participants": [
            {
                "leg": "caller",
                "name": "Alice Caller",
                "aor": "sip:+15550100@trunk.example.com",
                "participant_id": "part-1",
                "stream_ids": ["stream-1"],
                "label": "1",
            }
        ],
        "sessions": [{"session_id": "session-1", "sip_session_ids": ["ab30317f1a784dc4"]}],
    }
    assert call_id_of("323d4a19@10.116.28.171;x") == "323d4a19_10.116.28.171_x"
    assert [fresh("agent", {"p1"}), fresh("agent", {"agent", "agent-2"})] == ["agent", "agent-3"]
