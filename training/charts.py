"""Pictures of where a bundle fails: generators, human sources, both against each other, and duration."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from training.canvas import GREY, KINDS, colour_of, name_of, panels, percent, short

Found = Mapping[str, Any]
"""Findings by condition."""
ROW_INCHES = 0.24


def generators(found: Found) -> Figure:
    """A bar a generator: EER against all human clips, with the interval over clips; a dot after G.711."""
    rows = sorted(found["wideband"]["by_generator"], key=lambda row: row["eer"]["value"])
    figure, (axes,) = panels(1, "EER by generator", (7.0, 2.2 + ROW_INCHES * len(rows)))
    kinds = sorted({row["kind"] for row in rows})
    colours = {kind: KINDS[number % len(KINDS)] for number, kind in enumerate(kinds)}
    places = np.arange(len(rows))
    values = np.array([row["eer"]["value"] for row in rows])
    whiskers = np.abs(np.array([[row["eer"]["low"], row["eer"]["high"]] for row in rows]).T - values)
    bars = [colours[row["kind"]] for row in rows]
    axes.barh(places, values, 0.7, color=bars, xerr=whiskers, ecolor=GREY, error_kw={"lw": 1})
    handles: list[Any] = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    if "g711" in found:
        other = {row["name"]: row["eer"]["value"] for row in found["g711"]["by_generator"]}
        dots = [other[row["name"]] for row in rows]
        handles += axes.plot(dots, places, "D", ms=4, color="black", mec="white", label=name_of("g711"))
    axes.axvline(0.5, linestyle=":", color=GREY)
    axes.set_yticks(places, [f"{short(row['name'])} ({row['clips']})" for row in rows], fontsize=8)
    axes.set(xlabel="EER; at 50 % chance", xlim=(0.0, None), ylim=(-0.7, len(rows) - 0.3))
    percent(axes, "x")
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=8)
    return figure


def false_alarms(found: Found) -> Figure:
    """Two bars a human source: called synthetic at probability 0.5, and at the alert threshold."""
    rows = found["wideband"]["false_alarms"][::-1]
    figure, (axes,) = panels(1, "False alarms by human source", (7.0, 2.2 + 1.3 * ROW_INCHES * len(rows)))
    places = np.arange(len(rows))
    for threshold, words, shift, colour in (
        ("even", "probability above 0.5", 0.18, "#e8a13a"),
        ("alert", "at the alert threshold", -0.18, "#c0392b"),
    ):
        values = np.array([row[threshold]["value"] for row in rows])
        ends = np.array([[row[threshold]["low"], row[threshold]["high"]] for row in rows]).T
        axes.barh(places + shift, values, 0.34, color=colour, label=words)
        axes.hlines(places + shift, ends[0], ends[1], color=GREY, lw=1)
        if "g711" in found:
            other = {row["name"]: row[threshold]["value"] for row in found["g711"]["false_alarms"]}
            dots = [other[row["name"]] for row in rows]
            mark = f"{words}, G.711"
            axes.plot(dots, places + shift, "D", ms=4, color=colour, mec="black", mew=0.7, label=mark)
    axes.set_yticks(places, [f"{short(row['name'])} ({row['clips']})" for row in rows], fontsize=8)
    axes.set(xlabel="human clips called synthetic", xlim=(0.0, None), ylim=(-0.6, len(rows) - 0.4))
    percent(axes, "x")
    figure.legend(loc="outside lower left", ncols=2, fontsize=8)
    return figure


def matrix(cells: Mapping[str, Any]) -> Figure | None:
    """AUC of every generator against every human source; None where there are no cells."""
    aucs = np.array(cells["auc"])
    if aucs.size == 0:
        return None
    rows, columns = aucs.shape
    size = (max(6.4, 3.2 + 0.42 * columns), 2.6 + ROW_INCHES * rows)
    figure, (axes,) = panels(1, "AUC: generator against human source (wideband, in hundredths)", size)
    axes.imshow(aucs, cmap="RdYlGn", vmin=0.3, vmax=1.0, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            ink = "white" if aucs[i, j] > 0.93 or aucs[i, j] < 0.37 else "black"
            axes.text(j, i, f"{100 * aucs[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=7)
    axes.set_yticks(range(rows), [short(row["name"]) for row in cells["generators"]], fontsize=8)
    names = [short(row["name"], 24) for row in cells["sources"]]
    axes.set_xticks(range(columns), names, fontsize=8, rotation=55, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    return figure


def durations(found: Found) -> Figure | None:
    """EER against the seconds of a call, with the interval over voices; None where voices are too short."""
    rows = {condition: each["durations"] for condition, each in found.items() if each["durations"]}
    if not rows:
        return None
    figure, (axes,) = panels(1, "Score against duration", (6.4, 6.0))
    for condition, lengths in rows.items():
        seconds = [row["seconds"] for row in lengths]
        values = [row["eer"]["value"] for row in lengths]
        axes.plot(seconds, values, "o-", ms=5, color=colour_of(condition), label=name_of(condition))
        if condition in ("wideband", "g711"):
            low, high = ([row["eer"][end] for row in lengths] for end in ("low", "high"))
            axes.fill_between(seconds, low, high, color=colour_of(condition), alpha=0.13, lw=0)
    axes.set(xlabel="seconds of one voice", ylabel="EER", ylim=(0.0, None))
    axes.set_xticks([row["seconds"] for row in next(iter(rows.values()))])
    percent(axes, "y")
    figure.legend(loc="outside lower left", ncols=2, fontsize=9)
    return figure
