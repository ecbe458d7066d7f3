import numpy as np
import pytest

from fac_stream.calls.decision import MAX_LOG_ODDS, LegDecision, Thresholds
from tests.training.voices import utterance, voices
from training.calls import Call, Calls
from training.evidence import (
    ALARM_RATES,
    LEAST,
    MISS_RATES,
    alarm_points,
    evidence,
    fit_tables,
    human_points,
    shrink_of,
    thresholds,
)
from training.manifest import Label


def test_independent_windows_keep_their_worth():
    """Where windows a whole length apart are independent and calibrated, the shrink is that of no shrink."""
    rng = np.random.default_rng(1)
    heard = [
        utterance(2.0 * (middle + rng.normal(size=1)), label, f"p{number % 5}")
        for number in range(1500)
        for label, middle in ((Label.REAL, -1.0), (Label.FAKE, 1.0))
    ]
    assert shrink_of(heard) == pytest.approx(1.0, abs=0.15)


def test_windows_that_repeat_each_other_are_shrunk():
    """Where the five windows of ten seconds say all the same, they are worth about one."""
    rng = np.random.default_rng(1)
    heard = []
    for number in range(400):
        for label, middle in ((Label.REAL, -1.0), (Label.FAKE, 1.0)):
            odds = 2.0 * (middle + rng.normal())
            heard += [utterance([odds], label, f"p{label}{number}") for _ in range(5)]
    assert shrink_of(heard) == pytest.approx(0.2, abs=0.07)


def test_the_fit_counts_as_the_daemon_does():
    """Both sums are, window by window, those of the decision on a leg, up to its bounds."""
    call = Call((utterance([1.0, -2.0, np.nan, 3.0]), utterance([0.5, 2.5])), "m")
    leg = LegDecision(Thresholds(0.3, 0.5, 0.25, 1e6, 1e6, 10.0))
    ours = [(evidence(call, 0.3, 0.5, 1.0), evidence(call, 0.3, 0.25, -1.0))][0]
    theirs = []
    for start_s, end_s, score, speech_s in call.windows:
        if not np.isnan(score):
            leg.update(start_s, end_s, score, speech_s)
            theirs.append((leg.synthetic, leg.human))
        else:
            leg.update(start_s, end_s, None, 0.0, "no_speech")
    np.testing.assert_allclose(np.transpose(ours), theirs, atol=1e-9)


def test_thresholds_rise_as_the_rates_fall():
    """Whatever the data: one threshold a rate, none below the least, falling as the rates rise."""
    for heard in (voices(3), [each for each in voices(3) if np.all(each.scores < 0.9)]):
        for profile in ("wideband", "telephone", "mixed"):
            calls = Calls.of(heard, profile, 2, 0)
            for points, rates in (
                (alarm_points(calls, 0.5, 0.5), ALARM_RATES),
                (human_points(calls, 0.5, 0.5), MISS_RATES),
            ):
                limits = [limit for _, limit in points]
                assert tuple(rate for rate, _ in points) == rates
                assert limits == sorted(limits, reverse=True)
                assert min(limits) >= 0.5 * (MAX_LOG_ODDS - 0.5) + LEAST - 1e-3


def test_a_rate_that_was_counted_is_found_again():
    """Where there are enough values the threshold for a rate is exceeded by so many of them."""
    values = np.random.default_rng(0).exponential(size=1000)
    for rate, limit in thresholds(values, 10.0, (5.0, 20.0, 50.0), 1):
        assert np.sum(values > limit) == pytest.approx(10.0 * rate, abs=1)


def test_a_rate_that_was_not_seen_is_extrapolated():
    """For calibrated evidence, whose peaks fall as e^-h, ten times rarer takes log 10 more, as without."""
    values = np.random.default_rng(0).exponential(size=2000)
    for seen in (values, np.zeros(0)):
        (_, rare), (_, rarer) = thresholds(seen, 1.0, (0.001, 0.01), 1)
        assert rare - rarer == pytest.approx(np.log(10.0), rel=0.55)


def test_tables_of_voices():
    """All of it fits; the same data give the same tables, and without enough speech there are none."""
    heard = voices()
    tables = fit_tables(heard)
    assert tables == fit_tables(heard)
    assert 0 < tables.shrink <= 1
    assert fit_tables(voices(clips=1, sources=2)) is None
    assert fit_tables([each for each in heard if each.condition == "wideband"]) is None
    assert fit_tables(voices(clips=13, sources=1)) is None
