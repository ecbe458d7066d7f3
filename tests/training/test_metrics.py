"""Figures against numbers worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from training.metrics import figures, with_intervals

HAND = {
    "f1": 2 * 3 / (2 * 3 + 1 + 2),
    "accuracy": 5 / 8,
    "precision": 3 / 5,
    "recall": 3 / 4,
    "auc": 11 / 16,
    "eer": 1 / 4,
}
"""Four human scores, two of them above 0; four synthetic ones, one below: 11 of 16 pairs stand in order."""
LABELS = np.array([False, False, False, False, True, True, True, True])
SCORES = np.array([-3.0, -2.0, 0.5, 4.0, -1.0, 1.0, 2.0, 3.0])


def test_figures_by_hand():
    """Eight clips on paper."""
    assert figures(LABELS, SCORES) == pytest.approx(HAND)


@pytest.mark.parametrize("seed", range(5))
def test_figures_as_scikit_learn_has_them(seed):
    """Random scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + labels, 1)
    found = figures(labels, scores)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
    for name, peer in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert found[name] == pytest.approx(peer(labels, scores > 0))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, scores > 0))


def test_extremes_of_the_equal_error_rate():
    """Perfect order gives 0, reversed order 1, equal scores one half."""
    labels = np.array([False, False, True, True])
    for scores, eer in (([0, 1, 2, 3], 0.0), ([3, 2, 1, 0], 1.0), ([5, 5, 5, 5], 0.5)):
        assert figures(labels, np.array(scores, float))["eer"] == pytest.approx(eer)


def test_figures_do_not_depend_on_a_rising_map():
    """AUC and EER see the order only."""
    rng = np.random.default_rng(0)
    labels, scores = rng.random(100) < 0.5, rng.normal(size=100)
    before, after = figures(labels, scores), figures(labels, np.tanh(scores) * 7 - 1)
    assert before["auc"] == pytest.approx(after["auc"])
    assert before["eer"] == pytest.approx(after["eer"])


def test_weights_are_repetitions():
    """A bootstrap draw counts a clip n times exactly as n copies of it would."""
    from training.metrics import Ranking

    rng = np.random.default_rng(1)
    labels, scores = rng.random(60) < 0.5, np.round(rng.normal(size=60), 1)
    weights = rng.integers(0, 4, 60)
    copies = np.repeat(np.arange(60), weights)
    drawn = Ranking.of(labels, scores).figures(weights.astype(float))
    assert drawn == pytest.approx(figures(labels[copies], scores[copies]))


def test_intervals_hold_the_value_and_shrink_with_data():
    """Ten times the clips, an interval a third as wide; the same seed gives the same."""
    rng = np.random.default_rng(0)

    def interval(n):
        labels = np.arange(n) % 2 == 0
        return with_intervals(labels, rng.normal(size=n) + labels, draws=200)

    few, many = interval(100), interval(1000)
    for rows in (few, many):
        for row in rows.values():
            assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert many["auc"]["high"] - many["auc"]["low"] < 0.6 * (few["auc"]["high"] - few["auc"]["low"])
    assert with_intervals(LABELS, SCORES, draws=50) == with_intervals(LABELS, SCORES, draws=50)


def test_whole_groups_are_drawn():
    """Clips of one generator come together: copies of a clip add nothing, and the interval stays as wide."""
    labels, scores = np.repeat(LABELS, 20), np.repeat(SCORES, 20)
    groups = [str(i // 20) for i in range(len(labels))]
    single, grouped = with_intervals(labels, scores), with_intervals(labels, scores, groups)
    assert grouped["auc"]["high"] - grouped["auc"]["low"] > 3 * (single["auc"]["high"] - single["auc"]["low"])


@pytest.mark.parametrize("labels", [np.zeros(4, bool), np.ones(4, bool)])
def test_one_class_has_no_figures(labels):
    """A missing class and scores that are no numbers are refused."""
    with pytest.raises(ValueError, match="both classes"):
        figures(labels, np.arange(4.0))
    with pytest.raises(ValueError, match="finite"):
        figures(np.array([True, False]), np.array([0.0, np.nan]))
