import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.calls.decision import LegDecision, log_odds, worst
from fac_stream.config import DecisionRule
from fac_stream.events import Decision, SkipReason

RULE = DecisionRule()
HOP_S = 0.5
WINDOW_S = 2.0
scores = st.floats(0.0, 1.0)


def feed(leg: LegDecision, *values: float | None, speech_s: float = 2.0, skipped=None) -> list[Decision]:
    """Feed windows one hop apart, going on from where the leg stands."""
    end_s = leg._end_s + HOP_S if leg._end_s else WINDOW_S
    ends = [end_s + i * HOP_S for i in range(len(values))]
    return [
        leg.update(end - WINDOW_S, end, v, speech_s, skipped) for end, v in zip(ends, values, strict=True)
    ]


def test_nothing_is_said_before_enough_speech():
    """The state is unknown until min_speech_s of speech were scored, then it is decided."""
    leg = LegDecision(RULE)

    states = feed(leg, *[0.99] * 3)

    assert states == [Decision.UNKNOWN, Decision.SYNTHETIC, Decision.SYNTHETIC]
    assert leg.speech_s == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("score", "decision"),
    [(0.02, Decision.HUMAN), (0.8, Decision.SUSPICIOUS), (0.97, Decision.SYNTHETIC)],
)
def test_steady_scores_decide(score, decision):
    """A steady score ends in the state of its band, and the smoothed score is that score."""
    leg = LegDecision(RULE)

    states = feed(leg, *[score] * 20)

    assert decision is states[-1]
    assert leg.smoothed == pytest.approx(score)


def test_hysteresis_holds_between_clear_and_raise():
    """Between clear_at and raise_at a synthetic leg stays synthetic; below clear_at it is human again."""
    leg = LegDecision(RULE)
    feed(leg, *[0.97] * 10)

    held = feed(leg, *[0.6] * 60)
    cleared = feed(leg, *[0.1] * 60)

    assert {Decision.SYNTHETIC} == set(held)
    assert Decision.HUMAN is cleared[-1]
    assert Decision.SUSPICIOUS not in cleared


def test_silence_keeps_the_state():
    """Windows without speech change neither the state nor the smoothed score."""
    leg = LegDecision(RULE)
    feed(leg, *[0.97] * 10)
    before = leg.smoothed

    states = feed(leg, *[None] * 200, speech_s=0.0, skipped=SkipReason.NO_SPEECH)

    assert {Decision.SYNTHETIC} == set(states)
    assert before == leg.smoothed


@pytest.mark.parametrize("reason", [SkipReason.LATE, SkipReason.OVERLOAD, SkipReason.FAILED])
def test_what_was_not_scored_is_not_called_human(reason):
    """Once forget_after_s of audio could not be scored, a human leg is unknown again."""
    leg = LegDecision(RULE)
    feed(leg, *[0.02] * 10)
    blind = int(RULE.forget_after_s / HOP_S)

    states = feed(leg, *[None] * blind, skipped=reason)

    assert [Decision.HUMAN] * (blind - 1) + [Decision.UNKNOWN] == states
    assert leg.smoothed is None


def test_lost_audio_is_not_called_human():
    """A gap of forget_after_s makes a human leg unknown, and what follows is decided afresh."""
    leg = LegDecision(RULE)
    feed(leg, *[0.02] * 10)
    gap_s = leg._end_s + RULE.forget_after_s

    after = [leg.update(gap_s + 0.5 * i, gap_s + 2.0 + 0.5 * i, 0.98, 2.0) for i in range(4)]

    assert after == [Decision.UNKNOWN, Decision.SYNTHETIC, Decision.SYNTHETIC, Decision.SYNTHETIC]


def test_a_short_segment_counts_whole():
    """Speech of a segment shorter than a window is not diluted by the length of a window."""
    leg = LegDecision(RULE)

    leg.update(0.0, 0.8, 0.9, 0.8)

    assert leg.speech_s == pytest.approx(0.8)


def test_one_window_cannot_decide_alone():
    """After a human stretch a single certain window raises nothing."""
    leg = LegDecision(RULE)
    feed(leg, *[0.02] * 20)

    states = feed(leg, 1.0)

    assert states == [Decision.HUMAN]


def test_overlap_is_not_counted_twice():
    """Speech is counted once however densely the windows overlap."""
    sparse, dense = LegDecision(RULE), LegDecision(RULE)

    for i in range(10):
        sparse.update(2.0 * i, 2.0 * i + 2.0, 0.3, 2.0)
    for i in range(181):
        dense.update(0.1 * i, 0.1 * i + 2.0, 0.3, 2.0)

    assert sparse.speech_s == pytest.approx(20.0)
    assert dense.speech_s == pytest.approx(20.0)
    assert sparse.smoothed == pytest.approx(dense.smoothed)


@given(st.lists(scores, min_size=1, max_size=30), st.data())
def test_a_higher_score_never_lowers_the_smoothed(values, data):
    """Raising one window's score never lowers the smoothed score."""
    i = data.draw(st.integers(0, len(values) - 1))
    higher = [*values[:i], data.draw(st.floats(values[i], 1.0)), *values[i + 1 :]]
    a, b = LegDecision(RULE), LegDecision(RULE)

    feed(a, *values)
    feed(b, *higher)

    assert b.smoothed >= a.smoothed - 1e-12


@given(st.lists(scores, min_size=1, max_size=50))
def test_the_smoothed_score_lies_among_the_scores(values):
    """The smoothed score is a weighted mean: never outside what was seen."""
    leg = LegDecision(RULE)

    feed(leg, *values)

    bounded = [1 / (1 + math.exp(-log_odds(v))) for v in values]
    assert min(bounded) - 1e-9 <= leg.smoothed <= max(bounded) + 1e-9


def test_worst_of_decisions():
    """Severity rises from unknown over human and suspicious to synthetic."""
    assert Decision.UNKNOWN is worst([])
    assert Decision.SYNTHETIC is worst([Decision.HUMAN, Decision.SYNTHETIC, Decision.UNKNOWN])
    assert Decision.HUMAN is worst([Decision.UNKNOWN, Decision.HUMAN])
