"""Figures of a detector from labels (True for synthetic) and scores (higher for synthetic)."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score, roc_curve

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]


def figures_at_half(labels: Labels, logits: Scores) -> dict[str, float]:
    """F1, accuracy, precision and recall where everything above logit 0, probability one half, is called synthetic.

    A figure whose denominator is 0 is 0.
    """
    called = logits > 0
    found, missed = int((called & labels).sum()), int((~called & labels).sum())
    false_alarms = int((called & ~labels).sum())
    return {
        "f1": _ratio(2 * found, 2 * found + missed + false_alarms),
        "accuracy": _ratio(int((called == labels).sum()), len(labels)),
        "precision": _ratio(found, found + false_alarms),
        "recall": _ratio(found, found + missed),
    }


def area_under_curve(labels: Labels, scores: Scores) -> float:
    """Area under the ROC curve: how often a synthetic clip scores above a human one."""
    return float(roc_auc_score(labels, scores))


def equal_error_rate(labels: Labels, scores: Scores) -> float:
    """Where the straight pieces of the ROC curve meet false alarms = misses."""
    false_alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    misses = 1.0 - found
    after = int(np.argmax(false_alarms >= misses))
    if after == 0:
        return float(false_alarms[0])
    before = after - 1
    gap_before = misses[before] - false_alarms[before]
    gap_after = false_alarms[after] - misses[after]
    share = gap_before / (gap_before + gap_after)
    return float(false_alarms[before] + share * (false_alarms[after] - false_alarms[before]))


def all_figures(labels: Labels, logits: Scores) -> dict[str, float]:
    """What the report shows: figures at one half, AUC and EER."""
    return figures_at_half(labels, logits) | {
        "auc": area_under_curve(labels, logits),
        "eer": equal_error_rate(labels, logits),
    }


def with_intervals(
    labels: Labels, logits: Scores, groups: Sequence[str] | None = None, *, draws: int = 1000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Every figure with its 95 % bootstrap interval (percentiles): ``{"auc": {"value", "low", "high"}, ...}``.

    Args:
        labels: ``[N]``.
        logits: ``[N]``.
        groups: ``[N]`` names, say generators and human sources: whole groups are drawn, not single clips, which
            says what other voices would give. None draws clips.
        draws: resamplings.
        seed: of the draws.
    """
    value = all_figures(labels, logits)
    rng = np.random.default_rng(seed)
    draw = _draw_of(labels, groups, rng)
    rows = []
    for _ in range(draws):
        chosen = draw()
        rows.append(list(all_figures(labels[chosen], logits[chosen]).values()))
    low, high = np.percentile(rows, [2.5, 97.5], axis=0)
    return {
        name: {"value": round(value[name], 4), "low": round(low[i], 4), "high": round(high[i], 4)}
        for i, name in enumerate(value)
    }


def _draw_of(
    labels: Labels, groups: Sequence[str] | None, rng: np.random.Generator
) -> Callable[[], npt.NDArray[np.int64]]:
    """Each class is resampled for itself, so that no draw lacks one."""
    units: list[list[npt.NDArray[np.int64]]] = []
    for label in (False, True):
        members = np.flatnonzero(labels == label)
        if groups is None:
            units.append(list(members[:, None]))
        else:
            names = np.asarray(groups)[members]
            units.append([members[names == name] for name in np.unique(names)])

    def draw() -> npt.NDArray[np.int64]:
        return np.concatenate([unit[i] for unit in units for i in rng.integers(0, len(unit), len(unit))])

    return draw


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
