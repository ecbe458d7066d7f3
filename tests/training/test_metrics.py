"""Figures against numbers worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from training.metrics import ALARM_WEIGHT, FIGURES, MAX_RATIO, Ranking, figures

# Four human scores, two of them above 0; four synthetic ones, one below: 11 of 16 pairs stand in order.
# Above ln 1.9 = 0.64 lie one human and three synthetic ones, also the cheapest place for a threshold.
LABELS = np.array([False, False, False, False, True, True, True, True])
SCORES = np.array([-3.0, -2.0, 0.5, 4.0, -1.0, 1.0, 2.0, 3.0])
HAND = {
    "f1": 2 * 3 / (2 * 3 + 1 + 2),
    "accuracy": 5 / 8,
    "precision": 3 / 5,
    "recall": 3 / 4,
    "auc": 11 / 16,
    "eer": 1 / 4,
    "false_alarms": 2 / 4,
    "misses": 1 / 4,
    "min_dcf": 1.9 / 4 + 1 / 4,
    "act_dcf": 1.9 / 4 + 1 / 4,
    "dcf_ratio": 1.0,
}
LOGISTIC = {-3: 0.0486, -2: 0.1269, 0.5: 0.9741, 4: 4.0181, 1: 0.3133, 2: 0.1269, 3: 0.0486}
"""ln(1 + e^x): what a human scored x loses, and what a synthetic one scored -x loses."""


def test_figures_by_hand():
    """Eight clips on paper."""
    found = figures(LABELS, SCORES)
    assert {name: found[name] for name in HAND} == pytest.approx(HAND)
    human = sum(LOGISTIC[x] for x in (-3, -2, 0.5, 4)) / 4
    synthetic = (1.3133 + LOGISTIC[1] + LOGISTIC[2] + LOGISTIC[3]) / 4
    assert found["cllr"] == pytest.approx((human + synthetic) / 2 / np.log(2), abs=1e-3)


def test_pooling_by_hand():
    """From above: human, three synthetic, human, synthetic, two human.

    The first four pool to 3/4 synthetic, the next two to 1/2, the last two are human without doubt.
    """
    bits = (3 * -np.log2(3 / 4) + -np.log2(1 / 2)) / 4 + (-np.log2(1 / 4) - np.log2(1 / 2)) / 4
    assert figures(LABELS, SCORES)["min_cllr"] == pytest.approx(bits / 2)


@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_a_constant_score_says_nothing(constant):
    """It ranks nothing; an LLR of 0 costs one bit, a sure one more; minDCF is that of refusing nobody."""
    found = figures(LABELS, np.full(8, constant))
    assert found["auc"] == pytest.approx(0.5)
    assert found["eer"] == pytest.approx(0.5)
    assert found["min_cllr"] == pytest.approx(1.0)
    assert found["min_dcf"] == pytest.approx(1.0)
    assert found["cllr"] == pytest.approx(1.0) if constant == 0.0 else found["cllr"] > 3.0
    assert found["act_dcf"] == pytest.approx(1.0 if constant == 0.0 else ALARM_WEIGHT)


def test_perfect_separation_costs_nothing_at_the_best_threshold():
    """MinDCF, min Cllr and EER are 0; what is perfectly ranked may still be badly calibrated."""
    labels = np.array([False, False, True, True])
    well, shifted = figures(labels, np.array([-9.0, -8, 8, 9])), figures(labels, np.array([1.0, 2, 8, 9]))
    for found in (well, shifted):
        assert (found["min_dcf"], found["min_cllr"], found["eer"], found["auc"]) == (0.0, 0.0, 0.0, 1.0)
    assert (well["act_dcf"], well["dcf_ratio"]) == (0.0, 1.0)
    assert (shifted["act_dcf"], shifted["dcf_ratio"]) == (pytest.approx(1.9), MAX_RATIO)
    assert well["cllr"] < 0.001 < shifted["cllr"]


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


@pytest.mark.parametrize("seed", range(3))
def test_a_rising_map_changes_no_ranking(seed):
    """AUC, EER, minDCF and min Cllr see the order only, and no map beats the best one."""
    rng = np.random.default_rng(seed)
    labels = rng.random(200) < 0.4
    scores = np.round(rng.normal(size=200) + labels, 1)
    before = figures(labels, scores)
    for after in (figures(labels, 3 * scores - 2), figures(labels, np.tanh(scores))):
        for name in ("auc", "eer", "min_dcf", "min_cllr"):
            assert before[name] == pytest.approx(after[name])
        assert after["min_cllr"] <= after["cllr"] + 1e-12
        assert after["min_dcf"] <= after["act_dcf"] + 1e-12


def test_class_sizes_do_not_matter():
    """Ten times as many humans of the same kind: only accuracy, precision and F1 move."""
    labels, scores = np.append(LABELS, np.zeros(36, bool)), np.append(SCORES, np.repeat(SCORES[:4], 9))
    before, after = figures(LABELS, SCORES), figures(labels, scores)
    for name in set(FIGURES) - {"accuracy", "precision", "f1"}:
        assert before[name] == pytest.approx(after[name])


def test_weights_are_repetitions():
    """A bootstrap draw counts a clip n times exactly as n copies of it would, for every figure and draw."""
    rng = np.random.default_rng(1)
    labels, scores = rng.random(60) < 0.5, np.round(rng.normal(size=60), 1)
    weights = rng.integers(0, 4, (3, 60))
    drawn = Ranking.of(labels, scores).figures(weights.astype(float))
    for number, row in enumerate(weights):
        copies = np.repeat(np.arange(60), row)
        found = figures(labels[copies], scores[copies])
        assert {name: values[number] for name, values in drawn.items()} == pytest.approx(found)


@pytest.mark.parametrize("labels", [np.zeros(4, bool), np.ones(4, bool)])
def test_one_class_has_no_figures(labels):
    """A missing class and scores that are no numbers are refused."""
    with pytest.raises(ValueError, match="both classes"):
        figures(labels, np.arange(4.0))
    with pytest.raises(ValueError, match="finite"):
        figures(np.array([True, False]), np.array([0.0, np.nan]))
