"""The pictures of an evaluation, as PNG: first the curves of all conditions, then where it fails."""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import average_precision_score, precision_recall_curve

from training.canvas import (
    GREY,
    HUMAN,
    SYNTHETIC,
    colour_of,
    name_of,
    panels,
    percent,
    png,
    theme,
)
from training.charts import durations, false_alarms, generators, matrix
from training.logits import Scored
from training.metrics import Draws, Floats, Ranking, figures

Speech = Mapping[str, Scored]
"""Both classes by condition."""
MAIN = ("wideband", "g711")
RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
LOWEST = 0.0005


def all_plots(
    scored: Speech, found: Mapping[str, Any], history: Any, *, dark: bool = False
) -> dict[str, bytes]:
    """PNGs by name.

    Args:
        scored: clips and scores by condition.
        found: findings by condition, see ``training.findings``.
        history: rows of epochs; without there is no training history.
        dark: for a dark page.
    """
    with theme(dark=dark):
        drawn = {
            "roc": _roc(scored),
            "confusion_matrix": _confusion_matrix(scored),
            "score_distribution": _score_distribution(scored),
            "precision_recall": _precision_recall(scored),
            "det": _det(scored),
            "calibration": _calibration(scored),
            "generators": generators(found),
            "false_alarms": false_alarms(found),
            "matrix": matrix(found["wideband"]["matrix"]),
            "durations": durations(found),
            "training_history": _training_history(history) if history else None,
        }
        return {name: png(figure) for name, figure in drawn.items() if figure is not None}


def _main(scored: Speech) -> dict[str, Scored]:
    return {name: scored[name] for name in MAIN if name in scored}


def _curves(part: Scored) -> tuple[Floats, Floats]:
    """False alarm rate and find rate as the threshold falls."""
    drawn = Draws(Ranking.of(part.labels, part.llrs), np.ones((1, len(part.clips))))
    alarms, finds = drawn.curves
    return alarms[0], finds[0]


def _training_history(history: list[dict[str, float]]) -> Figure:
    figure, (left, right) = panels(2, "Training history")
    epochs = [row["epoch"] for row in history]
    for axes, key in ((left, "loss"), (right, "accuracy")):
        for name, words, colour in (
            (key, "training, augmented", GREY),
            (f"dev_{key}", "dev", colour_of("wideband")),
        ):
            if all(name in row for row in history):
                axes.plot(epochs, [row[name] for row in history], "o-", ms=4, color=colour, label=words)
        axes.set(xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title("Loss (cross-entropy)")
    right.set_title("Accuracy and AUC")
    if all("dev_auc" in row for row in history):
        aucs = [row["dev_auc"] for row in history]
        right.plot(epochs, aucs, "o--", ms=4, color=colour_of("g711"), label="dev, AUC")
    percent(right, "y")
    for axes in (left, right):
        axes.legend()
    return figure


def _roc(scored: Speech) -> Figure:
    figure, (axes,) = panels(1, "ROC: whole clips")
    for condition, part in scored.items():
        alarms, finds = _curves(part)
        found = figures(part.labels, part.llrs)
        text = f"{name_of(condition)}: AUC {found['auc']:.3f}"
        axes.plot(alarms, finds, color=colour_of(condition), label=text, lw=1.5)
        axes.plot(found["eer"], 1.0 - found["eer"], "o", ms=5, color=colour_of(condition))
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    axes.set(xlabel="human clips called synthetic", ylabel="synthetic clips found", aspect="equal")
    percent(axes, "x", "y")
    axes.legend(loc="lower right", fontsize=9)
    return figure


def _det(scored: Speech) -> Figure:
    figure, (axes,) = panels(1, "Detection error trade-off: whole clips", (6.0, 6.8))
    for condition, part in scored.items():
        alarms, finds = _curves(part)
        eer = figures(part.labels, part.llrs)["eer"]
        text = f"{name_of(condition)}: EER {100 * eer:.1f} %"
        axes.plot(_probit(alarms), _probit(1.0 - finds), color=colour_of(condition), label=text, lw=1.5)
        axes.plot(_probit(np.array([eer])), _probit(np.array([eer])), "o", ms=5, color=colour_of(condition))
    ticks = _probit(np.array(RATES))
    low, high = _probit(np.array([LOWEST, 0.9]))
    axes.plot([low, high], [low, high], ":", color=GREY)
    names = [f"{100 * rate:g} %" for rate in RATES]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="false alarms: human clips called synthetic", ylabel="misses: synthetic clips not found")
    figure.legend(loc="outside lower left", ncols=2, fontsize=9)
    return figure


def _probit(rates: Floats) -> Floats:
    """Where a rate stands on the axis of a DET plot; normal scores make straight lines there."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(float(np.clip(rate, LOWEST, 1.0 - LOWEST))) for rate in rates])


def _precision_recall(scored: Speech) -> Figure:
    figure, (axes,) = panels(1, "Precision and recall: whole clips")
    for condition, part in scored.items():
        precision, recall, _ = precision_recall_curve(part.labels, part.llrs)
        area = average_precision_score(part.labels, part.llrs)
        text = f"{name_of(condition)}: average {area:.3f}"
        axes.plot(recall, precision, color=colour_of(condition), label=text, lw=1.5)
    share = float(next(iter(scored.values())).labels.mean())
    axes.axhline(share, linestyle=":", color=GREY, label="chance")
    axes.set(
        xlabel="recall: synthetic clips found", ylabel="precision: of those called synthetic", ylim=(0, 1.02)
    )
    percent(axes, "x", "y")
    axes.legend(loc="lower left", fontsize=9)
    return figure


def _confusion_matrix(scored: Speech) -> Figure:
    chosen = _main(scored)
    figure, axes = panels(len(chosen), "Confusion at probability 0.5: whole clips", (4.4 * len(chosen), 4.4))
    for each, (condition, part) in zip(axes, chosen.items(), strict=True):
        _confusion(each, part)
        each.set_title(name_of(condition))
    return figure


def _confusion(axes: Axes, part: Scored) -> None:
    called = part.llrs > 0
    table = np.array(
        [
            [np.sum(~called & (part.labels == row)), np.sum(called & (part.labels == row))]
            for row in (False, True)
        ]
    )
    shares = table / table.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row in (0, 1):
        for column in (0, 1):
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{table[row, column]}\n{shares[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=14)
    axes.set(xlabel="called", ylabel="truth")
    axes.set_xticks([0, 1], ["human", "synthetic"])
    axes.set_yticks([0, 1], ["human", "synthetic"], rotation=90, va="center")
    axes.grid(visible=False)


def _score_distribution(scored: Speech) -> Figure:
    chosen = _main(scored)
    figure, axes = panels(len(chosen), "Scores of whole clips")
    bins = np.linspace(0.0, 1.0, 31).tolist()
    for each, (condition, part) in zip(axes, chosen.items(), strict=True):
        probability = _probability(part.llrs)
        for label, name, colour in ((False, "human", HUMAN), (True, "synthetic", SYNTHETIC)):
            values = probability[part.labels == label]
            weights = np.full(len(values), 1.0 / len(values))
            text = f"{name} ({len(values)})"
            each.hist(values, bins, weights=weights, alpha=0.55, color=colour, label=text)
        each.axvline(0.5, linestyle=":", color=GREY)
        each.set(title=name_of(condition), xlabel="probability of synthetic", ylabel="share of the class")
        percent(each, "y")
        each.legend()
    return figure


def _calibration(scored: Speech) -> Figure:
    """Left: of clips with such a probability, how many are synthetic; right: what a decision costs."""
    figure, (left, right) = panels(2, "Calibration: whole clips, both classes weighing alike")
    odds = np.linspace(-4.0, 4.0, 81)
    for condition, part in _main(scored).items():
        colour, words = colour_of(condition), name_of(condition)
        left.plot(*_reliability(part), "o-", ms=4, color=colour, label=words)
        actual, least = _bayes_errors(part, odds)
        right.plot(odds, actual, color=colour, label=f"{words}, as calibrated")
        right.plot(odds, least, "--", color=colour, label=f"{words}, best threshold")
    left.plot([0, 1], [0, 1], ":", color=GREY)
    left.set(title="Reliability", xlabel="probability said", ylabel="synthetic, in fact", aspect="equal")
    right.axhline(1.0, linestyle=":", color=GREY)
    right.set(
        title="Normalised cost of errors",
        xlabel="prior log-odds of synthetic, with costs",
        ylabel="cost; 1: without listening",
        ylim=(0.0, 1.4),
    )
    left.legend(fontsize=9)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    return figure


def _reliability(part: Scored) -> tuple[list[float], list[float]]:
    """Mean probability and share of synthetic in tenths that hold at least five clips."""
    probability, labels = _probability(part.llrs), part.labels
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    said, found = [], []
    for low in np.linspace(0.0, 0.9, 10):
        inside = (probability >= low) & (probability < low + 0.1)
        if inside.sum() >= 5:
            said.append(float(np.average(probability[inside], weights=weights[inside])))
            found.append(float(np.average(labels[inside], weights=weights[inside])))
    return said, found


def _bayes_errors(part: Scored, odds: Floats) -> tuple[Floats, Floats]:
    """Normalised cost at the threshold that theory gives for prior log-odds, and at the best threshold."""
    drawn = Draws(Ranking.of(part.labels, part.llrs), np.ones((1, len(part.clips))))
    alarms, finds = drawn.curves
    actual, least = [], []
    for odd in odds:
        prior = 1.0 / (1.0 + np.exp(-odd))
        alarm_rate, miss_rate = drawn.rates(-float(odd))
        best = float(np.min((1.0 - prior) * alarms + prior * (1.0 - finds)))
        cost = float(((1.0 - prior) * alarm_rate + prior * miss_rate)[0])
        actual.append(cost / min(prior, 1.0 - prior))
        least.append(best / min(prior, 1.0 - prior))
    return np.array(actual), np.array(least)


def _probability(llrs: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * llrs))
