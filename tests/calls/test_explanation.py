import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.calls.decision import LegDecision, Thresholds, log_odds
from fac_stream.calls.explanation import MOST_WINDOWS, Drivers
from fac_stream.events import Decision, SkipReason

HOP_S = 0.5
WINDOW_S = 2.0

LIMITS = Thresholds(1.0, 0.0, 0.0, 100.0, 100.0, forget_after_s=20.0)

scores = st.none() | st.floats(0.0, 1.0)


def feed(drivers, values, speech_s=2.0, first=0):
    """Feed windows one hop apart, the ``first``-th and those that follow."""
    for index, score in enumerate(values, first):
        start_s = index * HOP_S
        drivers.add(start_s, start_s + WINDOW_S, score, speech_s)


def told(drivers):
    """The windows of the explanation."""
    return drivers.explain([], [], "m@0", "1").windows


@given(st.lists(st.tuples(scores, st.floats(0.0, 2.0), st.sampled_from(Decision)), max_size=60))
def test_an_explanation_is_bounded_and_sorted(windows):
    """Whatever comes: at most ten windows, all for a synthetic voice, strongest first, parts of a whole."""
    drivers = Drivers()

    for index, (score, speech_s, decision) in enumerate(windows):
        drivers.add(index * HOP_S, index * HOP_S + WINDOW_S, score, speech_s)
        drivers.decided(decision)

    found = told(drivers)
    weights = [window.weight for window in found]
    assert len(found) <= MOST_WINDOWS
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) <= 1.0 + 0.001
    assert all(window.score >= 0.5 for window in found)


windows = st.tuples(scores, st.floats(0.1, 2.0), st.sampled_from([0.0, 0.0, 0.0, 30.0]))


@given(st.lists(windows, max_size=60), st.floats(0.5, 20.0))
def test_reasons_are_of_the_evidence_that_the_decision_has(values, alarm):
    """Bounded, and forgotten, as the decision is: after a loss, too, and where an alarm was long ago."""
    limits = Thresholds(0.5, 0.3, 0.3, alarm, 2.0, forget_after_s=20.0)
    leg, drivers, start_s = LegDecision(limits), Drivers(limits.alarm_reference, limits.most), 0.0
    for score, speech_s, lost_s in values:
        start_s += HOP_S + lost_s
        skipped = SkipReason.LOSS if score is None else None
        now = leg.update(start_s, start_s + WINDOW_S, score, speech_s, skipped)
        drivers.decided(now, leg.lapses)
        drivers.add(start_s, start_s + WINDOW_S, score, speech_s)

        found = drivers._sum * limits.shrink / WINDOW_S
        assert found == pytest.approx(leg.synthetic, abs=1e-6)
        assert told(drivers) or leg.synthetic == pytest.approx(0.0, abs=1e-6)


def test_what_came_before_a_loss_explains_nothing():
    """Evidence that led to no decision is forgotten with the leg, and not only after an alarm."""
    leg, drivers = LegDecision(LIMITS), Drivers(LIMITS.alarm_reference, LIMITS.most)
    for start_s in (0.0, 2.0, 60.0):
        now = leg.update(start_s, start_s + WINDOW_S, 0.9, 2.0)
        drivers.decided(now, leg.lapses)
        drivers.add(start_s, start_s + WINDOW_S, 0.9, 2.0)

    assert now is Decision.UNKNOWN
    assert [window.start_s for window in told(drivers)] == [60.0]


@given(st.lists(scores, min_size=1, max_size=60))
def test_only_what_came_since_the_evidence_was_last_zero_counts(values):
    """The windows named lie behind the last point where human evidence had outweighed all that was there."""
    drivers = Drivers()
    feed(drivers, values)

    total, zero = 0.0, -1
    for index, score in enumerate(values):
        new_s = WINDOW_S if index == 0 else HOP_S
        total += 0.0 if score is None else log_odds(score) * new_s
        if total <= 0.0 and score is not None:
            total, zero = 0.0, index
    assert all(window.start_s > zero * HOP_S for window in told(drivers))
    assert (told(drivers) == []) == (total == 0.0)


def test_weight_is_bounded_evidence_times_new_speech():
    """A window that is all new, and has twice the speech, weighs as the product says; none decides alone."""
    drivers = Drivers()
    drivers.add(0.0, 2.0, 1.0, 2.0)
    drivers.add(0.5, 2.5, 1.0, 2.0)
    drivers.add(4.0, 6.0, 0.9, 1.0)

    found = {window.start_s: window.weight for window in told(drivers)}

    parts = {0.0: log_odds(1.0) * 2.0, 0.5: log_odds(1.0) * 0.5, 4.0: log_odds(0.9) * 1.0}
    whole = sum(parts.values())
    assert found == {start: pytest.approx(part / whole, abs=1e-4) for start, part in parts.items()}


@pytest.mark.parametrize("decision", [Decision.HUMAN, Decision.UNKNOWN])
def test_a_leg_that_is_cleared_starts_anew(decision):
    """Windows of an earlier alarm do not explain the next one."""
    drivers = Drivers()
    feed(drivers, [0.99] * 20)
    drivers.decided(Decision.SYNTHETIC)
    drivers.decided(decision)
    feed(drivers, [0.9] * 3, first=40)

    assert sorted(window.start_s for window in told(drivers)) == [20.0, 20.5, 21.0]


def test_an_alarm_that_weakens_keeps_its_reasons():
    """Synthetic to suspicious is still the same alarm."""
    drivers = Drivers()
    feed(drivers, [0.99] * 3)
    drivers.decided(Decision.SYNTHETIC)
    drivers.decided(Decision.SUSPICIOUS)

    assert len(told(drivers)) == 3
