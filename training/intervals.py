"""How far to trust a figure: 95 % intervals, by bootstrap over clips or groups, and Wilson's for a share."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from training.metrics import Floats, Labels, Ranking, Scores

DRAWS = 1000
BLOCK = 100
"""Draws at a time: what they weigh stays within some megabytes."""

Interval = dict[str, float]
"""``value``, ``low`` and ``high``."""


def with_intervals(
    labels: Labels,
    scores: Scores,
    groups: Sequence[str] | None = None,
    *,
    names: Sequence[str] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Figures with their 95 % bootstrap intervals (Efron's percentiles), widened where they miss the value.

    Args:
        labels: ``[N]``, True for synthetic.
        scores: ``[N]``.
        groups: ``[N]`` names, say generators and human sources: whole groups are drawn, not single clips,
            which says what other voices would give. None draws clips.
        names: of the figures, keys of ``training.metrics.FIGURES``; all of them unless given.
        draws: resamplings; each class for itself, so that none lacks one.
        seed: of the draws.

    Raises:
        ValueError: a class is missing, or a score is not finite.
    """
    ranking = Ranking.of(labels, scores)
    value = ranking.figures(np.ones((1, len(labels))), names)
    blocks = [ranking.figures(weights, names) for weights in _drawn(labels, groups, draws, seed)]
    return {
        name: _interval(float(value[name][0]), np.concatenate([block[name] for block in blocks]))
        for name in value
    }


def _drawn(labels: Labels, groups: Sequence[str] | None, draws: int, seed: int) -> Iterator[Floats]:
    """How often each of ``N`` counts in each draw: blocks of ``[at most BLOCK, N]``."""
    rng = np.random.default_rng(seed)
    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    classes = [(labels == label, *np.unique(names[labels == label], return_inverse=True)) for label in (0, 1)]
    for start in range(0, draws, BLOCK):
        count = min(BLOCK, draws - start)
        weights = np.zeros((count, len(labels)))
        for chosen, members, places in classes:
            drawn = rng.multinomial(len(members), np.full(len(members), 1.0 / len(members)), size=count)
            weights[:, chosen] = drawn[:, places]
        yield weights


def mean_interval(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """A mean with its bootstrap interval over the values.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("there is no mean of nothing")
    each = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).choice(each, (draws, len(each))).mean(axis=1)
    return _interval(float(each.mean()), drawn)


def share_interval(hits: int, count: int) -> Interval:
    """A share with Wilson's 95 % interval (1927), which holds for few cases and for none found.

    Raises:
        ValueError: there are no cases.
    """
    if not count:
        raise ValueError("there is no share of nothing")
    z = 1.96
    centre = (hits + z * z / 2) / (count + z * z)
    half = z * math.sqrt(hits * (count - hits) / count + z * z / 4) / (count + z * z)
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == count else centre + half
    return {"value": round(hits / count, 4), "low": round(low, 4), "high": round(high, 4)}


def _interval(value: float, drawn: Floats) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "value": round(value, 4),
        "low": round(min(float(low), value), 4),
        "high": round(max(float(high), value), 4),
    }


def ratio_interval(
    tops: Sequence[float],
    bottoms: Sequence[float],
    groups: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """A sum over another with its bootstrap interval over whole groups.

    A share of no hits, or of hits only, that all groups agree on gets the interval of a share in which each
    group is one case: groups that agree are no proof.

    Raises:
        ValueError: the bottoms add up to nothing.
    """
    if not sum(bottoms):
        raise ValueError("there is no share of nothing")
    members, places = np.unique(groups, return_inverse=True)
    top, bottom = (np.bincount(places, values, len(members)) for values in (tops, bottoms))
    chances = np.full(len(members), 1.0 / len(members))
    drawn = np.random.default_rng(seed).multinomial(len(members), chances, size=draws)
    sums = drawn @ bottom
    value = float(top.sum() / bottom.sum())
    found = _interval(value, (drawn @ top)[sums > 0] / sums[sums > 0])
    if value in (0.0, 1.0):
        widest = share_interval(len(members) if value else 0, len(members))
        found |= {"low": widest["low"], "high": widest["high"]}
    return found


def rate_interval(
    events: Sequence[float], exposures: Sequence[float], groups: Sequence[str], rounds: int, *, seed: int = 0
) -> Interval:
    """Events per unit of exposure, such as alarms per 100 hours, over ``rounds`` readings of the same data.

    The interval is the wider one of the bootstrap over groups and of Byar's for a Poisson count in one
    reading (Breslow and Day 1987; within 1 % of the exact one): without an event the bootstrap alone would
    claim certainty.

    Raises:
        ValueError: there is no exposure.
    """
    exposure = sum(exposures) / rounds
    if not exposure:
        raise ValueError("there is no rate over nothing")
    count = sum(events) / rounds
    low = _byar(count, -1.96) / exposure if count else 0.0
    high = _byar(count + 1.0, 1.96) / exposure
    drawn = (
        ratio_interval(events, exposures, groups, seed=seed) if sum(events) else {"low": low, "high": high}
    )
    return {
        "value": round(count / exposure, 1),
        "low": round(min(low, drawn["low"]), 1),
        "high": round(max(high, drawn["high"]), 1),
    }


def _byar(count: float, z: float) -> float:
    return count * max(0.0, 1.0 - 1.0 / (9.0 * count) + z / (3.0 * math.sqrt(count))) ** 3
