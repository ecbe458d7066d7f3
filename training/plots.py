"""The five plots of an evaluation, as PNG: each condition side by side or in a colour of its own."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from training.logits import Condition, Scored
from training.metrics import figures

NAMES = {"wideband": "16 kHz", "resampled": "from 48 kHz", "g711": "telephone (G.711)"}
COLOURS = {"wideband": "#1b6ca8", "resampled": "#3f9d8f", "g711": "#d1662b"}
HUMAN, SYNTHETIC, GREY = "#2a8c5a", "#b3304c", "#8a8f98"


def all_plots(scored: Mapping[Condition, Scored], history: Any) -> dict[str, bytes]:
    """PNGs by name; without a history there is no training history."""
    drawn = {
        "roc": _roc(scored),
        "confusion_matrix": _confusion_matrix(scored),
        "score_distribution": _score_distribution(scored),
        "precision_recall": _precision_recall(scored),
    }
    if history:
        drawn["training_history"] = _training_history(history)
    return {name: _png(figure) for name, figure in drawn.items()}


def _training_history(history: list[dict[str, float]]) -> Figure:
    figure, (left, right) = _panels(2, "Training history")
    epochs = [row["epoch"] for row in history]
    for axes, key, title in ((left, "loss", "Loss (cross-entropy)"), (right, "accuracy", "Accuracy")):
        axes.plot(epochs, [row[key] for row in history], "o-", color=GREY, label="training, augmented")
        axes.plot(
            epochs, [row[f"dev_{key}"] for row in history], "o-", color=COLOURS["wideband"], label="dev"
        )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    right.plot(epochs, [row["dev_auc"] for row in history], "o--", color=COLOURS["g711"], label="dev, AUC")
    right.set_title("Accuracy and AUC")
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.legend()
    return figure


def _roc(scored: Mapping[Condition, Scored]) -> Figure:
    figure, (axes,) = _panels(1, "ROC: whole clips")
    for condition, part in scored.items():
        alarm_rate, find_rate, _ = roc_curve(part.labels, part.llrs)
        found = figures(part.labels, part.llrs)
        text = f"{NAMES[condition]}: AUC {found['auc']:.3f}, EER {found['eer']:.1%}"
        axes.plot(alarm_rate, find_rate, color=COLOURS[condition], label=text)
        axes.plot(found["eer"], 1.0 - found["eer"], "o", color=COLOURS[condition])
    axes.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    axes.set(xlabel="human clips called synthetic", ylabel="synthetic clips found", aspect="equal")
    _percent(axes)
    axes.legend(loc="lower right")
    return figure


def _precision_recall(scored: Mapping[Condition, Scored]) -> Figure:
    figure, (axes,) = _panels(1, "Precision and recall: whole clips")
    for condition, part in scored.items():
        precision, recall, _ = precision_recall_curve(part.labels, part.llrs)
        area = average_precision_score(part.labels, part.llrs)
        text = f"{NAMES[condition]}: average precision {area:.3f}"
        axes.plot(recall, precision, color=COLOURS[condition], label=text)
        share = float(part.labels.mean())
    axes.axhline(share, linestyle=":", color=GREY, label="chance")
    axes.set(
        xlabel="recall: synthetic clips found", ylabel="precision: of those called synthetic", ylim=(0, 1.02)
    )
    _percent(axes)
    axes.legend(loc="lower left")
    return figure


def _confusion_matrix(scored: Mapping[Condition, Scored]) -> Figure:
    figure, panels = _panels(len(scored), "Confusion at threshold 0.5: whole clips")
    for axes, (condition, part) in zip(panels, scored.items(), strict=True):
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
        axes.set(title=NAMES[condition], xlabel="called", ylabel="truth")
        axes.set_xticks([0, 1], ["human", "synthetic"])
        axes.set_yticks([0, 1], ["human", "synthetic"], rotation=90, va="center")
        axes.grid(visible=False)
    return figure


def _score_distribution(scored: Mapping[Condition, Scored]) -> Figure:
    figure, panels = _panels(len(scored), "Scores of whole clips")
    bins = np.linspace(0.0, 1.0, 31)
    for axes, (condition, part) in zip(panels, scored.items(), strict=True):
        probability = 0.5 * (1.0 + np.tanh(0.5 * part.llrs))
        for label, name, colour in ((False, "human", HUMAN), (True, "synthetic", SYNTHETIC)):
            chosen = probability[part.labels == label]
            weights = np.full(len(chosen), 1.0 / len(chosen))
            axes.hist(
                chosen,
                bins.tolist(),
                weights=weights,
                alpha=0.55,
                color=colour,
                label=f"{name} ({len(chosen)})",
            )
        axes.axvline(0.5, linestyle=":", color="black")
        axes.set(
            title=NAMES[condition], xlabel="score (probability of synthetic)", ylabel="share of the class"
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend()
    return figure


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(
        figsize=(6.4 if count == 1 else 5.2 * count, 5.4 if count == 1 else 4.6),
        dpi=120,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=13)
    panels = [figure.add_subplot(1, count, number + 1) for number in range(count)]
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    # No software name: the same figures give the same bytes on every machine with the same matplotlib.
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
