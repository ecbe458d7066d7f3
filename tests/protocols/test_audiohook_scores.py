import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.events import CallStarted, Decision, DecisionChanged, EndReason, SkipReason, WindowScored
from fac_stream.protocols.audiohook import AudioHook
from fac_stream.protocols.audiohook_scores import MIN_GAP_S, Scores
from fac_stream.protocols.dialogue import Send
from tests.protocols.test_audiohook import OPEN, said


def window(end_s, leg="caller", score=0.9, decision=Decision.UNKNOWN):
    """What the call publishes about a window."""
    return WindowScored(
        leg=leg,
        index=0,
        start_s=end_s - 2,
        end_s=end_s,
        score=score,
        skipped=None if score is not None else SkipReason.NO_SPEECH,
        smoothed=score,
        speech_s=1.5,
        decision=decision,
        model="fac-default 0.2",
    )


def hops(seconds, leg="caller", **fields):
    """One window every half second up to ``seconds``."""
    return [window(2 + 0.5 * n, leg, **fields) for n in range(int((seconds - 2) * 2) + 1)]


def test_an_entity_says_who_when_and_what():
    """The whole entity, as it stands in docs/connect/audiohook.md."""
    (entity,) = Scores(5).add(window(14.5, "agent", 0.25, Decision.HUMAN))
    assert entity == {
        "type": "synthetic-voice",
        "data": {
            "channel": "internal",
            "position": "PT12.5S",
            "duration": "PT2S",
            "score": 0.25,
            "smoothed": 0.25,
            "decision": "human",
            "model": "fac-default 0.2",
        },
    }


@pytest.mark.parametrize("every_s", [0.5, 2, 5, 60])
def test_scores_come_at_the_configured_rate(every_s):
    """The first at once, then one a period, by the position of the audio."""
    scores = Scores(every_s)
    sent = [event.end_s for event in hops(120) if scores.add(event)]
    assert sent[0] == 2
    assert {b - a for a, b in itertools.pairwise(sent)} == {every_s}


def test_a_decision_does_not_wait_for_its_turn():
    """It is sent with the window that brought it."""
    scores = Scores(60)
    sent = [scores.add(event) for event in hops(30)]
    assert sum(map(bool, sent)) == 1
    (entity,) = scores.add(window(30.5, decision=Decision.SYNTHETIC))
    assert entity["data"]["decision"] == "synthetic"


def test_a_decision_is_sent_also_without_a_score():
    """Silence may end a suspicion."""
    scores = Scores(60)
    scores.add(window(2, decision=Decision.SUSPICIOUS))
    assert scores.add(window(4, score=None, decision=Decision.SUSPICIOUS)) == []
    (entity,) = scores.add(window(6, score=None, decision=Decision.UNKNOWN))
    assert (entity["data"]["score"], entity["data"]["decision"]) == (None, "unknown")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["caller", "agent"]), st.none() | st.floats(0, 1), st.sampled_from(Decision)
        ),
        max_size=200,
    )
)
def test_the_rate_is_bounded_whatever_the_decisions_do(windows):
    """Never two messages within a second of audio, one entity a leg, and the last word is always sent."""
    scores, sent, last = Scores(5), [], {}
    for n, (leg, score, decision) in enumerate(windows):
        event = window(2 + 0.25 * n, leg, score, decision)
        entities = scores.add(event)
        channels = [entity["data"]["channel"] for entity in entities]
        assert len(set(channels)) == len(channels) <= 2
        sent += [event.end_s] if entities else []
        last |= {entity["data"]["channel"]: entity["data"]["decision"] for entity in entities}
    assert all(b - a >= MIN_GAP_S for a, b in itertools.pairwise(sent))

    last |= {entity["data"]["channel"]: entity["data"]["decision"] for entity in scores.rest()}

    for leg, channel in (("caller", "external"), ("agent", "internal")):
        decisions = [decision.value for name, _, decision in windows if name == leg]
        assert last.get(channel, "unknown") == (decisions[-1] if decisions else "unknown")


def test_what_is_not_a_score_is_not_sent():
    """Genesys knows its own call; a decision comes with its window."""
    started = CallStarted(source="audiohook", legs=["caller"], sample_rate=8000, encoding="mulaw")
    changed = DecisionChanged(
        leg="caller",
        previous=Decision.UNKNOWN,
        decision=Decision.HUMAN,
        at_s=2,
        smoothed=0.1,
        speech_s=2,
        model="m",
    )
    assert [Scores(5).add(event) for event in (started, changed, window(2, score=None))] == [[], [], []]


@pytest.mark.parametrize(("retry", "until"), [({"retryAfter": "PT20S"}, 24.0), ({}, 64.0)])
def test_a_client_that_is_told_too_much_is_left_alone(retry, until):
    """After error 429 nothing is sent for ``retryAfter``, by default a minute; decisions are kept."""
    dialogue = AudioHook(scores_every_s=2)
    dialogue.receive_text(said("open", 1, OPEN))
    heard = [event for event in hops(4) if dialogue.event(event)]
    assert len(heard) == 2
    dialogue.receive_text(said("error", 2, {"code": 429, "message": "Too many requests", **retry}))

    sent = [event.end_s for event in hops(100)[5:] if dialogue.event(event)]

    assert sent[0] == until


def test_the_last_scores_come_before_closed():
    """What was held back for the rate's sake is said at the end."""
    dialogue = AudioHook(scores_every_s=60)
    dialogue.receive_text(said("open", 1, OPEN))
    dialogue.admitted("x")
    for event in hops(10):
        dialogue.event(event)
    dialogue.receive_text(said("close", 2, {"reason": "end"}))

    answers = [json.loads(a.data) for a in dialogue.ended(EndReason.COMPLETED) if isinstance(a, Send)]

    assert [answer["type"] for answer in answers] == ["event", "closed"]
    assert [answer["seq"] for answer in answers] == [3, 4]
    assert answers[0]["parameters"]["entities"][0]["data"]["position"] == "PT8S"
