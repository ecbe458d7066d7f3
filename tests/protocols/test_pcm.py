import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import Encoding
from fac_stream.errors import ProtocolError
from fac_stream.protocols.pcm import Audio, End, Hello, PcmStream

GOLDEN = sorted((Path(__file__).parent / "data").glob("*.json"))
HELLO = {"sample_rate": 8000, "encoding": "pcm_s16le", "channels": 1}


def receive(stream, message):
    """Feed a text or binary message."""
    return stream.receive_text(message) if isinstance(message, str) else stream.receive_bytes(message)


def plain(message):
    """A message as the golden files write it."""
    match message:
        case Hello():
            return {
                "hello": {
                    "sample_rate": message.format.sample_rate,
                    "encoding": message.format.encoding.value,
                    "legs": list(message.format.legs),
                    "call_id": message.call_id,
                    "metadata": message.metadata,
                }
            }
        case Audio():
            return {"audio": {"start_sample": message.start_sample, "hex": message.data.hex()}}
        case End():
            return {"end": {}}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_messages(path):
    """Recorded conversations give the recorded messages, or the recorded refusal at their last message."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    messages = [m["text"] if "text" in m else bytes.fromhex(m["hex"]) for m in golden["messages"]]
    stream = PcmStream()
    received = []
    if "error" in golden:
        *messages, last = messages
    received = [plain(m) for m in (receive(stream, message) for message in messages) if m is not None]
    assert received == golden["expected"]
    if "error" in golden:
        with pytest.raises(ProtocolError) as refused:
            receive(stream, last)
        assert golden["error"] in str(refused.value)


def test_there_are_golden_messages():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 20


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "sample_rate": st.integers(3990, 192_010) | ANYTHING,
        "encoding": st.sampled_from(Encoding) | ANYTHING,
        "channels": st.integers(0, 9) | ANYTHING,
        "call_id": st.text(max_size=8) | ANYTHING,
        "legs": st.lists(st.text(max_size=4), max_size=4) | ANYTHING,
        "metadata": ANYTHING,
        "type": st.sampled_from(["hello", "end", "start"]) | ANYTHING,
    },
)
MESSAGES = st.one_of(
    FIELDS.map(json.dumps),
    st.just(json.dumps(HELLO)),
    st.just('{"type": "end"}'),
    st.text(),
    st.binary(max_size=64),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_whatever_comes_is_accepted_or_refused(messages):
    """The parser gives messages or raises ProtocolError, and never anything else."""
    stream = PcmStream()
    try:
        for message in messages:
            answer = receive(stream, message)
            assert answer is None or isinstance(answer, Hello | Audio | End)
            if isinstance(answer, Hello):
                json.dumps(answer.metadata, allow_nan=False)
                assert len(set(answer.format.legs)) == answer.channels
    except ProtocolError:
        return


@settings(deadline=None)
@given(
    st.integers(0, 400).flatmap(lambda n: st.tuples(st.binary(min_size=n, max_size=n), st.just(n))),
    st.sampled_from(Encoding),
    st.integers(1, 8),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_where_messages_are_cut_makes_no_difference(audio, encoding, channels, cuts):
    """Any split of the bytes gives the same samples at the same indices, and the same end."""
    data, length = audio
    stream = PcmStream()
    hello = stream.receive_text(json.dumps(HELLO | {"encoding": encoding, "channels": channels}))
    width = hello.format.frame_width
    bounds = [0, *sorted(min(cut, length) for cut in cuts), length]
    received = [stream.receive_bytes(data[a:b]) for a, b in itertools.pairwise(bounds)]
    parts = [part for part in received if part is not None]
    whole = length - length % width
    assert b"".join(part.data for part in parts) == data[:whole]
    position = 0
    for part in parts:
        assert part.start_sample * width == position
        position += len(part.data)
    if length % width:
        with pytest.raises(ProtocolError, match="inside a sample"):
            stream.receive_end()
    else:
        assert stream.receive_end() == End()
