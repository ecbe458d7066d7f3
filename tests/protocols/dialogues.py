"""Dialogues with a parser of ``fac_stream/protocols``: golden files, plain words, whatever comes."""

import json
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Finish, Media, Start

DATA = Path(__file__).parent / "data"


def golden(*systems):
    """Golden files of these systems, as pytest parameters."""
    paths = [path for system in systems for path in sorted((DATA / system).glob("*.json"))]
    assert len(paths) > 3 * len(systems), "an empty folder would pass as well"
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}-{path.stem}")


def feed(dialogue, message):
    """Hand one message of a golden file to the parser."""
    match message:
        case {"text": fields}:
            return dialogue.receive_text(json.dumps(fields))
        case {"text_raw": text}:
            return dialogue.receive_text(text)
        case {"hex": data}:
            return dialogue.receive_bytes(bytes.fromhex(data))
        case {"close": True}:
            return dialogue.receive_close()


def plain(message):
    """A message of the parser as golden files write it."""
    match message:
        case Start():
            return {
                "start": {
                    "call_id": message.call_id,
                    "sample_rate": message.format.sample_rate,
                    "encoding": message.format.encoding.value,
                    "legs": list(message.format.legs),
                    "metadata": message.metadata,
                    "token": message.token,
                }
            }
        case Media():
            assert not message.concealed
            return {"media": {"leg": message.leg, "at": message.at, "hex": message.data.hex()}}
        case Finish():
            return {"finish": {}}


def check(path, dialogue):
    """A recorded dialogue gives the recorded messages, or the recorded refusal at its last message."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    messages = recorded["messages"]
    said = []
    for message in messages[:-1] if "error" in recorded else messages:
        said += map(plain, feed(dialogue, message))
    assert said == recorded["expected"]
    if "error" in recorded:
        with pytest.raises(ProtocolError) as refused:
            feed(dialogue, messages[-1])
        assert recorded["error"] in str(refused.value)


def recorded(name, index):
    """The object that stands as a text at this place in a golden file."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["messages"][index]["text"]


def recordings(*systems):
    """Every JSON text of these systems' golden files."""
    return [
        message["text"]
        for system in systems
        for path in sorted((DATA / system).glob("*.json"))
        for message in json.loads(path.read_text(encoding="utf-8"))["messages"]
        if "text" in message
    ]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw, texts):
    """A recorded object with one of its values replaced by anything, or left out."""
    fields = json.loads(json.dumps(draw(st.sampled_from(texts))))
    inner = fields
    while True:
        name = draw(st.sampled_from(sorted(inner)))
        if not (isinstance(inner[name], dict) and inner[name] and draw(st.booleans())):
            break
        inner = inner[name]
    if draw(st.booleans()):
        inner[name] = draw(ANYTHING)
    else:
        del inner[name]
    return fields


def messages(*systems):
    """What could come on a socket of these systems: recorded, damaged, and anything at all."""
    texts = recordings(*systems)
    return st.one_of(
        st.sampled_from(texts).map(json.dumps),
        mutated(texts).map(json.dumps),
        ANYTHING.map(json.dumps),
        st.text(max_size=40),
        st.binary(max_size=40),
    )


def check_accepted_or_refused(dialogue, received):
    """The parser gives well-formed messages or raises ``ProtocolError``, and nothing else.

    Returns:
        What it gave.
    """
    said = []
    try:
        for message in received:
            text = isinstance(message, str)
            said += dialogue.receive_text(message) if text else dialogue.receive_bytes(message)
        said += dialogue.receive_close()
    except ProtocolError:
        pass
    starts = [message for message in said if isinstance(message, Start)]
    assert len(starts) <= 1
    assert not said or said[0] is starts[0]
    assert [type(message) for message in said].count(Finish) <= 1
    next_sample = {}
    for message in said:
        if isinstance(message, Start):
            json.dumps(message.metadata, allow_nan=False)
            assert "token" not in message.metadata
        if isinstance(message, Media):
            width = starts[0].format.encoding.width
            width *= 1 if message.leg else len(starts[0].format.legs)
            count, rest = divmod(len(message.data), width)
            assert (count > 0, rest) == (True, 0)
            at = next_sample.get(message.leg, 0) if message.at is None else message.at
            assert at >= next_sample.get(message.leg, 0)
            next_sample[message.leg] = at + count
    return said
