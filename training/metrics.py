"""Figures of a detector from labels (True for synthetic) and scores (LLRs, higher for synthetic)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


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
        return cls(labels, scores, order, np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1))

    def figures(self, weights: Floats) -> dict[str, float]:
        """All figures where the i-th score counts ``weights[i]`` times; a ratio without denominator is 0."""
        called = self.scores > 0
        found, missed = weights[called & self.labels].sum(), weights[~called & self.labels].sum()
        false_alarms = weights[called & ~self.labels].sum()
        alarm_rate, find_rate = self._curve(weights)
        return {
            "f1": _ratio(2 * found, 2 * found + missed + false_alarms),
            "accuracy": 1.0 - _ratio(missed + false_alarms, weights.sum()),
            "precision": _ratio(found, found + false_alarms),
            "recall": _ratio(found, found + missed),
            "auc": float(np.trapezoid(find_rate, alarm_rate)),
            "eer": _crossing(alarm_rate, 1.0 - find_rate),
        }

    def _curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """False alarm rate and find rate as the threshold falls, from 0 to 1."""
        heavy, synthetic = weights[self.order], self.labels[self.order]
        alarms = np.append(0.0, np.cumsum(heavy * ~synthetic)[self.ends])
        finds = np.append(0.0, np.cumsum(heavy * synthetic)[self.ends])
        return alarms / alarms[-1], finds / finds[-1]


def figures(labels: Labels, scores: Scores) -> dict[str, float]:
    """F1, accuracy, precision and recall where all above 0 is called synthetic; area under ROC; EER.

    Raises:
        ValueError: a class is missing, or a score is not finite.
    """
    return Ranking.of(labels, scores).figures(np.ones(len(labels)))


def with_intervals(
    labels: Labels, scores: Scores, groups: Sequence[str] | None = None, *, draws: int = 1000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Every figure with its 95 % bootstrap interval: ``{"auc": {"value", "low", "high"}, ...}``.

    Args:
        labels: ``[N]``.
        scores: ``[N]``.
        groups: ``[N]`` names, say generators and human sources: whole groups are drawn, not single clips,
            which says what other voices would give. None draws clips.
        draws: resamplings; each class for itself, so that none lacks one.
        seed: of the draws.
    """
    ranking = Ranking.of(labels, scores)
    rng = np.random.default_rng(seed)
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    classes = [(labels == label, *np.unique(names[labels == label], return_inverse=True)) for label in (0, 1)]
    weights = np.zeros(len(labels))
    rows = []
    for _ in range(draws):
        for chosen, members, places in classes:
            drawn = np.bincount(rng.integers(0, len(members), len(members)), minlength=len(members))
            weights[chosen] = drawn[places]
        rows.append(list(ranking.figures(weights).values()))
    low, high = np.percentile(rows, [2.5, 97.5], axis=0)
    value = ranking.figures(np.ones(len(labels)))
    return {
        name: {
            "value": round(value[name], 4),
            "low": round(float(low[i]), 4),
            "high": round(float(high[i]), 4),
        }
        for i, name in enumerate(value)
    }


def _crossing(alarm_rate: Floats, miss_rate: Floats) -> float:
    """Where the straight pieces of the curve meet false alarms = misses."""
    after = int(np.argmax(alarm_rate >= miss_rate))
    before = after - 1
    gap_before = miss_rate[before] - alarm_rate[before]
    gap_after = alarm_rate[after] - miss_rate[after]
    share = gap_before / (gap_before + gap_after)
    return float(alarm_rate[before] + share * (alarm_rate[after] - alarm_rate[before]))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
