"""Intervals: they hold the value, shrink with data, and know what is drawn."""

import numpy as np
import pytest

from training.intervals import mean_interval, rate_interval, ratio_interval, share_interval, with_intervals

LABELS = np.array([False, False, False, False, True, True, True, True])
SCORES = np.array([-3.0, -2.0, 0.5, 4.0, -1.0, 1.0, 2.0, 3.0])


def test_intervals_hold_the_value_and_shrink_with_data():
    """Ten times the clips, an interval a third as wide; the same seed gives the same."""
    rng = np.random.default_rng(0)

    def interval(n):
        labels = np.arange(n) % 2 == 0
        return with_intervals(labels, rng.normal(size=n) + labels, draws=200)

    few, many = interval(100), interval(1000)
    for rows in (few, many):
        for row in rows.values():
            assert 0 <= row["low"] <= row["value"] <= row["high"]
    assert many["auc"]["high"] - many["auc"]["low"] < 0.6 * (few["auc"]["high"] - few["auc"]["low"])
    assert with_intervals(LABELS, SCORES, draws=50) == with_intervals(LABELS, SCORES, draws=50)


def test_whole_groups_are_drawn():
    """Clips of one generator come together: copies of a clip add nothing, and the interval stays as wide."""
    labels, scores = np.repeat(LABELS, 20), np.repeat(SCORES, 20)
    groups = [str(i // 20) for i in range(len(labels))]
    single = with_intervals(labels, scores, names=("auc",))["auc"]
    grouped = with_intervals(labels, scores, groups, names=("auc",))["auc"]
    assert grouped["high"] - grouped["low"] > 3 * (single["high"] - single["low"])


def test_only_the_figures_asked_for():
    """A breakdown does not pay for figures that it does not show."""
    assert set(with_intervals(LABELS, SCORES, names=("eer",), draws=5)) == {"eer"}


def test_shares_of_few_and_none():
    """Wilson's interval of 0 of 10 reaches from 0 to 28 %, of 5 of 10 from 24 to 76 %."""
    assert share_interval(0, 10) == pytest.approx({"value": 0, "low": 0, "high": 0.2775}, abs=1e-3)
    assert share_interval(10, 10) == pytest.approx({"value": 1, "low": 0.7225, "high": 1}, abs=1e-3)
    assert share_interval(5, 10) == pytest.approx({"value": 0.5, "low": 0.2366, "high": 0.7634}, abs=1e-3)
    with pytest.raises(ValueError, match="nothing"):
        share_interval(0, 0)


def test_a_mean_of_equals_is_certain():
    """All sources alike leave no doubt about their mean; of none there is no mean."""
    assert mean_interval([0.25, 0.25]) == {"value": 0.25, "low": 0.25, "high": 0.25}
    spread = mean_interval([0.0, 1.0, 0.0, 1.0])
    assert spread["low"] < spread["value"] == 0.5 < spread["high"]
    with pytest.raises(ValueError, match="nothing"):
        mean_interval([])


def test_a_ratio_draws_whole_groups():
    """Groups that agree leave no doubt but their number's; one that does not widens the interval."""
    groups = ["a"] * 50 + ["b"] * 50
    alike = ratio_interval([1.0, 0.0] * 50, [1.0] * 100, groups)
    apart = ratio_interval([1.0] * 50 + [0.0] * 50, [1.0] * 100, groups)
    assert (alike["low"], alike["value"], alike["high"]) == (0.5, 0.5, 0.5)
    assert (apart["low"], apart["value"], apart["high"]) == (0.0, 0.5, 1.0)
    none = ratio_interval([0.0] * 100, [1.0] * 100, groups)
    assert (none["value"], none["high"]) == (0.0, share_interval(0, 2)["high"])
    with pytest.raises(ValueError, match="nothing"):
        ratio_interval([0.0], [0.0], ["a"])


def test_a_rate_without_events_has_an_upper_end():
    """It is Poisson's: 3.7 per exposure, however many readings of the same data there are."""
    for rounds in (1, 10):
        found = rate_interval([0.0] * rounds, [0.5] * rounds, ["a"] * rounds, rounds)
        assert (found["value"], found["low"]) == (0.0, 0.0)
        assert found["high"] == pytest.approx(3.69 / 0.5, rel=0.02)


def test_readings_of_the_same_data_are_no_more_data():
    """A rate over ten equal readings has the interval of one."""
    one = rate_interval([4.0, 0.0, 1.0], [1.0, 2.0, 1.0], ["a", "b", "c"], 1)
    ten = rate_interval([4.0, 0.0, 1.0] * 10, [1.0, 2.0, 1.0] * 10, ["a", "b", "c"] * 10, 10)
    assert one == ten
    assert one["low"] < one["value"] == 1.2 < one["high"]
