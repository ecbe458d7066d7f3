import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_model.decision import Curves, DecisionTables
from fac_stream.calls.decision import LegDecision, Thresholds, log_odds, profile_of, worst
from fac_stream.config import DecisionRule
from fac_stream.events import Decision, SkipReason

LIMITS = Thresholds(
    shrink=0.5, alarm_reference=1.0, human_reference=0.5, alarm=4.0, clear=2.0, forget_after_s=10.0
)
CURVES = Curves(alarm=((1.0, 8.0), (100.0, 4.0)), human=((0.01, 6.0), (0.1, 2.0)))
TABLES = DecisionTables(
    shrink=0.5, alarm_reference=1.0, human_reference=0.5, wideband=CURVES, telephone=CURVES, mixed=CURVES
)
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


def chance(odds: float) -> float:
    """The probability at log-odds."""
    return 1.0 / (1.0 + math.exp(-odds))


def test_nothing_is_said_before_there_is_evidence():
    """The state is unknown until one of the sums has reached something, and stays so between them."""
    leg = LegDecision(LIMITS)

    assert set(feed(leg, *[chance(0.5)] * 200)) == {Decision.UNKNOWN}
    assert leg.speech_s == pytest.approx(101.5)


@pytest.mark.parametrize(("odds", "decision"), [(-3.0, Decision.HUMAN), (3.0, Decision.SYNTHETIC)])
def test_steady_scores_decide(odds, decision):
    """Steady scores beyond a reference decide in the end, and the smoothed score is that score."""
    leg = LegDecision(LIMITS)

    states = feed(leg, *[chance(odds)] * 40)

    assert decision is states[-1]
    assert leg.smoothed == pytest.approx(chance(odds))


def test_evidence_is_what_the_theory_says():
    """Two seconds add shrink times what the log-odds exceed the reference by; half a second a quarter."""
    leg = LegDecision(LIMITS)

    feed(leg, chance(3.0))
    assert leg.synthetic == pytest.approx(0.5 * (3.0 - 1.0))
    feed(leg, chance(3.0))
    assert leg.synthetic == pytest.approx(1.25 * 0.5 * (3.0 - 1.0))
    assert leg.human == 0.0


def test_a_voice_that_turns_synthetic_is_caught():
    """However long a voice was human, the alarm comes no later than it would have for a new one."""
    fresh, turned = LegDecision(LIMITS), LegDecision(LIMITS)
    feed(turned, *[0.02] * 500)

    # The first window of a stream brings two seconds, a later one a hop.
    needed = feed(fresh, *[0.98] * 20).index(Decision.SYNTHETIC) + WINDOW_S / HOP_S - 1
    states = feed(turned, *[0.98] * 40)

    assert states[0] is Decision.HUMAN
    assert Decision.SUSPICIOUS in states
    assert states.index(Decision.SYNTHETIC) == needed
    assert set(states[states.index(Decision.SYNTHETIC) :]) == {Decision.SYNTHETIC}


def test_leaving_takes_as_much_evidence_as_arriving():
    """From synthetic a leg goes to human with the evidence that a new one needs, never past suspicious."""
    fresh, alarmed = LegDecision(LIMITS), LegDecision(LIMITS)
    feed(alarmed, *[0.98] * 500)

    needed = feed(fresh, *[0.05] * 20).index(Decision.HUMAN) + WINDOW_S / HOP_S - 1
    states = feed(alarmed, *[0.05] * 40)

    assert states.index(Decision.HUMAN) == needed
    assert set(states) == {Decision.SYNTHETIC, Decision.HUMAN}
    assert feed(alarmed, *[chance(0.9)] * 100)[-1] is Decision.HUMAN


def test_silence_keeps_the_state():
    """Windows without speech change neither the state nor the evidence."""
    leg = LegDecision(LIMITS)
    feed(leg, *[0.97] * 20)
    before = (leg.smoothed, leg.synthetic, leg.human)

    states = feed(leg, *[None] * 200, speech_s=0.0, skipped=SkipReason.NO_SPEECH)

    assert {Decision.SYNTHETIC} == set(states)
    assert before == (leg.smoothed, leg.synthetic, leg.human)


@pytest.mark.parametrize("reason", [SkipReason.LATE, SkipReason.OVERLOAD, SkipReason.FAILED])
def test_what_was_not_scored_is_not_called_human(reason):
    """Once forget_after_s of audio could not be scored, a human leg is unknown again."""
    leg = LegDecision(LIMITS)
    feed(leg, *[0.02] * 20)
    blind = int(LIMITS.forget_after_s / HOP_S)

    states = feed(leg, *[None] * blind, skipped=reason)

    assert [Decision.HUMAN] * (blind - 1) + [Decision.UNKNOWN] == states
    assert (leg.smoothed, leg.human) == (None, 0.0)


def test_lost_audio_is_not_called_human():
    """A gap of forget_after_s makes a human leg unknown, and what follows is decided afresh."""
    leg = LegDecision(LIMITS)
    feed(leg, *[0.02] * 20)
    gap_s = leg._end_s + LIMITS.forget_after_s

    after = [leg.update(gap_s + 0.5 * i, gap_s + 2.0 + 0.5 * i, 0.98, 2.0) for i in range(20)]

    assert after[0] is Decision.UNKNOWN
    assert after[-1] is Decision.SYNTHETIC


def test_a_short_segment_counts_whole():
    """Speech of a segment shorter than a window is not diluted by the length of a window."""
    leg = LegDecision(LIMITS)

    leg.update(0.0, 0.8, 0.9, 0.8)

    assert leg.speech_s == pytest.approx(0.8)


def test_one_window_cannot_decide_alone():
    """A single certain window raises nothing, not even suspicion of a human voice."""
    fresh, human = LegDecision(LIMITS), LegDecision(LIMITS)
    feed(human, *[0.02] * 20)

    assert feed(fresh, 1.0) == [Decision.UNKNOWN]
    assert feed(human, 1.0) == [Decision.HUMAN]


def test_overlap_is_not_counted_twice():
    """Speech and evidence are counted once however densely the windows overlap."""
    sparse, dense = LegDecision(LIMITS), LegDecision(LIMITS)

    for i in range(4):
        sparse.update(2.0 * i, 2.0 * i + 2.0, chance(1.5), 2.0)
    for i in range(61):
        dense.update(0.1 * i, 0.1 * i + 2.0, chance(1.5), 2.0)

    assert sparse.speech_s == pytest.approx(dense.speech_s) == pytest.approx(8.0)
    assert sparse.smoothed == pytest.approx(dense.smoothed)
    assert sparse.synthetic == pytest.approx(dense.synthetic) == pytest.approx(1.0)


@given(st.lists(scores, min_size=1, max_size=30), st.data())
def test_a_higher_score_is_never_evidence_for_human(values, data):
    """Raising one window's score lowers neither the smoothed score nor the state."""
    i = data.draw(st.integers(0, len(values) - 1))
    higher = [*values[:i], data.draw(st.floats(values[i], 1.0)), *values[i + 1 :]]
    a, b = LegDecision(LIMITS), LegDecision(LIMITS)

    was, now = feed(a, *values), feed(b, *higher)

    assert b.smoothed >= a.smoothed - 1e-12
    assert Decision.SYNTHETIC in now or Decision.SYNTHETIC not in was


@given(st.lists(scores | st.none(), min_size=1, max_size=60))
def test_evidence_is_bounded(values):
    """No sum leaves 0 to its threshold: whatever was heard, the way back is no longer than that."""
    leg = LegDecision(LIMITS)
    for value in values:
        feed(leg, value, skipped=SkipReason.NO_SPEECH if value is None else None)
        assert 0.0 <= leg.synthetic <= LIMITS.alarm
        assert 0.0 <= leg.human <= LIMITS.clear


@given(st.lists(scores, min_size=1, max_size=50))
def test_the_smoothed_score_lies_among_the_scores(values):
    """The smoothed score is a weighted mean: never outside what was seen."""
    leg = LegDecision(LIMITS)

    feed(leg, *values)

    bounded = [chance(log_odds(v)) for v in values]
    assert min(bounded) - 1e-9 <= leg.smoothed <= max(bounded) + 1e-9


def test_worst_of_decisions():
    """Severity rises from unknown over human and suspicious to synthetic."""
    assert Decision.UNKNOWN is worst([])
    assert Decision.SYNTHETIC is worst([Decision.HUMAN, Decision.SYNTHETIC, Decision.UNKNOWN])
    assert Decision.HUMAN is worst([Decision.UNKNOWN, Decision.HUMAN])


@pytest.mark.parametrize(
    ("leg", "rate", "profile"),
    [
        ("caller", 8000, "telephone"),
        ("agent", 16_000, "wideband"),
        ("mixed", 8000, "mixed"),
        ("mixed", 48_000, "mixed"),
    ],
)
def test_a_leg_has_the_profile_of_its_source(leg, rate, profile):
    """One voice goes by the rate it is sent at; where there may be two, the rate is no matter."""
    assert profile_of(leg, rate) == profile


def test_thresholds_come_from_the_bundle():
    """What an operator asks for is looked up, between two rates of the table by the logarithm of the rate."""
    rule = DecisionRule(false_alarms_per_100h=10.0, miss_rate=0.05)
    limits = Thresholds.of(rule, TABLES, "telephone")
    assert limits.alarm == pytest.approx(6.0)
    assert limits.clear == pytest.approx(2.0 + 4.0 * math.log10(2.0))
    assert limits.rises_above == pytest.approx(chance(1.0))
    assert limits.falls_below == pytest.approx(chance(-0.5))
    assert Thresholds.of(DecisionRule(false_alarms_per_100h=1000.0), TABLES, "mixed").alarm == 4.0


@pytest.mark.parametrize("tables", [None, TABLES])
@given(st.floats(0.1, 99_000.0), st.floats(1.01, 100.0))
def test_fewer_false_alarms_take_more_evidence(tables, rate, times):
    """The threshold never falls as the rate that is asked for does."""
    more, fewer = (
        Thresholds.of(DecisionRule(false_alarms_per_100h=each), tables, "wideband").alarm
        for each in (min(rate * times, 100_000.0), rate)
    )
    assert fewer >= more


def test_without_a_table_theory_stands_in():
    """Lorden's and Wald's bounds: windows a false alarm, and a minute's windows for one in so many misses."""
    limits = Thresholds.of(DecisionRule(false_alarms_per_100h=18.0, miss_rate=0.05), None, "wideband")
    assert limits.alarm == pytest.approx(math.log(10_000))
    assert limits.clear == pytest.approx(math.log(30 * 20))


def test_by_theory_few_synthetic_voices_are_called_human():
    """Of voices a minute long whose windows are independent and calibrated no more than were asked for."""
    rng = np.random.default_rng(0)
    limits = Thresholds.of(DecisionRule(miss_rate=0.3, false_alarms_per_100h=0.1), None, "wideband")
    called = 0
    for _ in range(500):
        leg = LegDecision(limits)
        # Gaussian log-odds of mean m and variance 2m are calibrated.
        called += any(
            leg.update(i * WINDOW_S, (i + 1) * WINDOW_S, chance(odds), WINDOW_S) is Decision.HUMAN
            for i, odds in enumerate(rng.normal(1.0, math.sqrt(2.0), 30))
        )
    assert 0 < called <= 0.3 * 500


def test_an_explicit_threshold_wins():
    """raise_at stands for what the table says; at 0 any scored window is an alarm."""
    always = Thresholds.of(DecisionRule(raise_at=0.0), TABLES, "wideband")
    assert set(feed(LegDecision(always), *[0.01] * 10)) == {Decision.SYNTHETIC}


def test_a_table_must_fall():
    """A bundle whose thresholds rise with the rate, or whose rates do not rise, is refused."""
    for points in (((1.0, 2.0), (2.0, 3.0)), ((2.0, 3.0), (1.0, 2.0)), ((1.0, 2.0),)):
        with pytest.raises(ValueError, match=r"rates must rise|at least 2"):
            Curves(alarm=points, human=CURVES.human)
