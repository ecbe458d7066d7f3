"""Figures of a detector, written out so that nobody must guess what was counted.

The positive class is *synthetic*; a score is a log-likelihood ratio, synthetic over human, natural logarithm,
and higher means more synthetic. A *false alarm* is a human called synthetic, a *miss* a synthetic one not
found. Both are rates within their own class, so no figure but accuracy, precision and F1 depends on how many
clips of each class there are.

========== ==================================================================================================
eer        the rate at which false alarms equal misses, on the straight lines between the points of the ROC
auc        area under the ROC: how often a synthetic score lies above a human one, ties counting half
cllr       bits a decision loses, classes weighing alike: 0 is perfect, 1 what a constant LLR of 0 costs
           (Brümmer and du Preez, 2006); sees ranking and calibration together
min_cllr   the same after the best rising map of these very scores, found by pooling adjacent violators: what
           ranking alone costs
min_dcf    least detection cost over all thresholds, as in ASVspoof 5 (Wang et al., 2024): synthetic speech
           has prior 0.05, a human refused costs 1, a synthetic voice let through 10; divided by the cost of
           the better of calling all or nothing synthetic, which gives ``1.9 * false alarms + misses``. There
           the positive class is bona fide: their misses are our false alarms, their false alarms our misses
act_dcf    the same cost at the threshold that theory gives for those costs, LLR > ln 1.9
dcf_ratio  act_dcf / min_dcf: 1 where the calibration is right for those costs; at most 99
========== ==================================================================================================

``false_alarms``, ``misses``, ``accuracy``, ``f1``, ``precision`` and ``recall`` are those of calling LLR > 0
synthetic, probability one half; a ratio without denominator is 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

SYNTHETIC_PRIOR, REFUSAL_COST, ADMISSION_COST = 0.05, 1.0, 10.0
"""ASVspoof 5."""
ALARM_WEIGHT = REFUSAL_COST * (1 - SYNTHETIC_PRIOR) / (ADMISSION_COST * SYNTHETIC_PRIOR)
"""1.9: how many misses a false alarm weighs."""
MAX_RATIO = 99.0


@dataclass(frozen=True)
class Ranking:
    """Scores sorted once, so that every draw of a bootstrap is a few sums over weights."""

    labels: Labels
    scores: Scores
    order: npt.NDArray[np.intp]
    """From the highest score down."""
    ends: npt.NDArray[np.intp]
    """Last place of each run of equal scores: a threshold cannot part them."""

    @classmethod
    def of(cls, labels: Labels, scores: Scores) -> "Ranking":
        """Sort.

        Raises:
            ValueError: a class is missing, or a score is not finite.
        """
        if labels.all() or not labels.any() or not np.isfinite(scores).all():
            raise ValueError("figures need finite scores of both classes")
        order = np.argsort(-scores, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        return cls(labels, np.asarray(scores, np.float64), order, ends)

    def figures(self, weights: Floats, names: Sequence[str] = ()) -> dict[str, Floats]:
        """Figures of every draw.

        Args:
            weights: ``[draws, N]``; in a draw the i-th score counts ``weights[draw, i]`` times.
            names: of the figures, keys of ``FIGURES``; all of them unless given.

        Returns:
            ``[draws]`` by name.
        """
        drawn = Draws(self, weights)
        return {name: FIGURES[name](drawn) for name in names or FIGURES}


@dataclass(frozen=True)
class Draws:
    """A ranking under weights ``[draws, N]``: rates at one threshold, and along all of them."""

    ranking: Ranking
    weights: Floats

    @cached_property
    def curves(self) -> tuple[Floats, Floats]:
        """Rates of false alarms and finds as the threshold falls, from 0 to 1, ``[draws, places]`` each."""
        heavy, synthetic = self.weights[:, self.ranking.order], self.ranking.labels[self.ranking.order]
        rates = []
        for chosen in (~synthetic, synthetic):
            sums = np.cumsum(heavy * chosen, axis=1)[:, self.ranking.ends]
            rates.append(np.pad(sums, ((0, 0), (1, 0))) / sums[:, -1:])
        return rates[0], rates[1]

    @cached_property
    def sizes(self) -> tuple[Floats, Floats]:
        """How much the human and the synthetic class weigh, ``[draws]`` each."""
        labels = self.ranking.labels
        return self.weights[:, ~labels].sum(axis=1), self.weights[:, labels].sum(axis=1)

    def called(self, threshold: float = 0.0) -> tuple[Floats, Floats]:
        """Weights of false alarms and finds where all above a threshold is called, ``[draws]`` each."""
        called, labels = self.ranking.scores > threshold, self.ranking.labels
        return (
            self.weights[:, called & ~labels].sum(axis=1),
            self.weights[:, called & labels].sum(axis=1),
        )

    def rates(self, threshold: float = 0.0) -> tuple[Floats, Floats]:
        """Rates of false alarms and of misses at a threshold, ``[draws]`` each."""
        (alarms, finds), (humans, synthetic) = self.called(threshold), self.sizes
        return alarms / humans, 1.0 - finds / synthetic


def figures(labels: Labels, scores: Scores) -> dict[str, float]:
    """All figures of labels ``[N]``, True for synthetic, and scores ``[N]``.

    Raises:
        ValueError: a class is missing, or a score is not finite.
    """
    found = Ranking.of(labels, scores).figures(np.ones((1, len(labels))))
    return {name: float(values[0]) for name, values in found.items()}


def _f1(drawn: Draws) -> Floats:
    (alarms, finds), (_, synthetic) = drawn.called(), drawn.sizes
    return _ratio(2 * finds, finds + synthetic + alarms)


def _accuracy(drawn: Draws) -> Floats:
    (alarms, finds), (humans, synthetic) = drawn.called(), drawn.sizes
    return _ratio(humans - alarms + finds, humans + synthetic)


def _precision(drawn: Draws) -> Floats:
    alarms, finds = drawn.called()
    return _ratio(finds, finds + alarms)


def _auc(drawn: Draws) -> Floats:
    alarms, finds = drawn.curves
    return np.asarray(np.trapezoid(finds, alarms, axis=1))


def _eer(drawn: Draws) -> Floats:
    alarms, finds = drawn.curves
    gap = alarms + finds - 1.0  # false alarms less misses: from -1 up to 1
    after = np.argmax(gap >= 0.0, axis=1)
    row = np.arange(len(gap))
    share = -gap[row, after - 1] / (gap[row, after] - gap[row, after - 1])
    return np.asarray(alarms[row, after - 1] + share * (alarms[row, after] - alarms[row, after - 1]))


def _cllr(drawn: Draws) -> Floats:
    labels, scores = drawn.ranking.labels, drawn.ranking.scores
    bits = np.logaddexp(0.0, np.where(labels, -scores, scores)) / np.log(2.0)
    humans, synthetic = drawn.sizes
    return np.asarray(
        0.5 * drawn.weights[:, ~labels] @ bits[~labels] / humans
        + 0.5 * drawn.weights[:, labels] @ bits[labels] / synthetic
    )


def _min_cllr(drawn: Draws) -> Floats:
    steps = [np.diff(curve, axis=1) for curve in drawn.curves]
    return np.array([_pooled_cllr(alarms, finds) for alarms, finds in zip(*steps, strict=True)])


def _pooled_cllr(alarms: Floats, finds: Floats) -> float:
    """From the share of each class at each score, highest first; scores without weight say nothing."""
    mass = alarms + finds
    kept = mass > 0.0
    synthetic = isotonic_regression(
        finds[kept] / mass[kept], sample_weight=mass[kept], y_min=0.0, y_max=1.0, increasing=False
    )
    # Each class sums to 1, so the pooled share of synthetic is a posterior under equal priors.
    shares = np.stack([finds[kept], alarms[kept]])
    with np.errstate(divide="ignore"):
        bits = -np.log2(np.stack([synthetic, 1.0 - synthetic]))
    bits[shares == 0.0] = 0.0
    return float(0.5 * np.sum(shares * bits))


def _min_dcf(drawn: Draws) -> Floats:
    alarms, finds = drawn.curves
    return np.asarray(np.min(ALARM_WEIGHT * alarms + 1.0 - finds, axis=1))


def _act_dcf(drawn: Draws) -> Floats:
    alarms, misses = drawn.rates(float(np.log(ALARM_WEIGHT)))
    return ALARM_WEIGHT * alarms + misses


def _dcf_ratio(drawn: Draws) -> Floats:
    actual, least = _act_dcf(drawn), _min_dcf(drawn)
    ratio = np.divide(actual, least, out=np.full(len(least), MAX_RATIO), where=least > 0.0)
    return np.where(actual <= least + 1e-12, 1.0, np.minimum(ratio, MAX_RATIO))


FIGURES: dict[str, Callable[[Draws], Floats]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": lambda drawn: 1.0 - drawn.rates()[1],
    "auc": _auc,
    "eer": _eer,
    "cllr": _cllr,
    "min_cllr": _min_cllr,
    "min_dcf": _min_dcf,
    "act_dcf": _act_dcf,
    "dcf_ratio": _dcf_ratio,
    "false_alarms": lambda drawn: drawn.rates()[0],
    "misses": lambda drawn: drawn.rates()[1],
}
"""What is counted; the table above says how."""


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
