import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.events import Decision, DecisionChanged, EndReason, HealthChanged
from fac_stream.protocols.dialogue import Finish, Hangup, Media, Refusal, Start
from fac_stream.protocols.freeswitch import MAX_TEXT_CHARACTERS, FreeSwitchStream
from fac_stream.protocols.pcm import MAX_METADATA_BYTES
from tests.protocols.conversations import check, golden, plain, read, receive, sound, stopped_clock

GOLDEN = golden("freeswitch")
DECISION = DecisionChanged(
    call_id="b7d1",
    leg="caller",
    previous=Decision.UNKNOWN,
    decision=Decision.SYNTHETIC,
    at_s=6.5,
    smoothed=0.93,
    speech_s=5.0,
    model="m",
)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_messages(path):
    """Recorded conversations give the recorded messages, or the recorded refusal at their last message."""
    recorded = read(path)
    stream = FreeSwitchStream(recorded["parameters"], **recorded["config"], now=stopped_clock)
    check(recorded, lambda message: receive(stream, message), recorded["messages"])


def test_there_are_golden_messages():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 15


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(["call_id", "token", "rate", "caller"]), ANYTHING, max_size=4)
MESSAGES = st.one_of(
    (FIELDS | ANYTHING).map(json.dumps), st.text(), st.binary(max_size=64), st.just(b""), st.none()
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.sampled_from(["8k", "16000", "0", "9" * 5000, "١٦٠٠٠"]) | st.text(max_size=8),
        "channels": st.sampled_from(["mono", "mixed", "stereo"]) | st.text(max_size=8),
        "call_id": st.text(max_size=8),
        "token": st.text(max_size=8),
        "queue": st.text(max_size=8),
    },
)


@settings(max_examples=400, deadline=None)
@given(PARAMETERS, st.lists(MESSAGES, max_size=6))
def test_whatever_comes_is_accepted_or_refused(parameters, messages):
    """The parser gives messages or raises ProtocolError; what it says of a call is small and has no token."""
    stream = FreeSwitchStream(parameters, answer_decisions=True)
    try:
        for message in messages:
            for answer in receive(stream, message):
                assert isinstance(answer, Start | Media | Finish)
                if isinstance(answer, Start):
                    size = len(json.dumps(answer.metadata, ensure_ascii=False).encode())
                    assert size <= MAX_METADATA_BYTES
                    assert "token" not in answer.metadata
    except ProtocolError:
        pass
    assert isinstance(stream.refused(Refusal.FULL, "full")[-1], Hangup)


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_where_messages_are_cut_makes_no_difference(data, cuts):
    """Any split of the audio gives the same whole samples of both legs."""
    stream = FreeSwitchStream({"channels": "stereo"}, now=stopped_clock)
    bounds = [0, *sorted({min(cut, len(data)) for cut in cuts} - {0, len(data)}), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(bounds)]
    received = [answer for piece in pieces for answer in stream.receive_bytes(piece)]
    assert sound(received) == data[: len(data) // 4 * 4]


def test_a_text_message_is_bounded():
    """The modules themselves send at most 8 KiB."""
    with pytest.raises(ProtocolError, match="at most"):
        FreeSwitchStream({}).receive_text(" " * (MAX_TEXT_CHARACTERS + 1))


def test_decisions_go_back_where_they_are_wanted():
    """One JSON object that both modules hand on as their json event; nothing else of the call is told."""
    stream = FreeSwitchStream({}, answer_decisions=True)
    (admitted,) = stream.admitted("b7d1")
    assert json.loads(admitted.data)["data"] == {"type": "call.admitted", "call_id": "b7d1"}
    (answer,) = stream.event(DECISION)
    said = json.loads(answer.data)
    assert said["type"] == "json"
    assert said["data"] == DECISION.model_dump(mode="json")
    assert stream.event(HealthChanged(call_id="b7d1", status="ok", detail="audio arrives again")) == ()


def test_decisions_stay_here_otherwise():
    """Without the option nothing is ever sent to FreeSWITCH while the call goes on."""
    stream = FreeSwitchStream({})
    assert [*stream.admitted("b7d1"), *stream.event(DECISION)] == []


def test_a_refusal_says_why():
    """As the error that mod_audio_fork makes an event of, then the close."""
    error, close = FreeSwitchStream({}).refused(Refusal.FULL, "100 calls are going on")
    assert json.loads(error.data) == {
        "type": "error",
        "data": {"code": "full", "message": "100 calls are going on"},
    }
    assert plain(close) == {"hangup": 1013}
    assert [plain(r) for r in FreeSwitchStream({}).ended(EndReason.COMPLETED)] == [{"hangup": 1000}]


def test_a_paused_fork_leaves_a_gap():
    """``uuid_audio_stream … pause`` stops the audio: what follows stands where the clock stands."""
    now_s = 0.0
    stream = FreeSwitchStream({"rate": "16k"}, now=lambda: now_s)
    received = []
    for n in range(100):
        now_s = n * 0.02 + (10.0 if n >= 50 else 0.0)
        received += stream.receive_bytes(bytes(640))
    assert [m.at for m in received if isinstance(m, Media) and m.at] == [50 * 320 + 10 * 16_000]
