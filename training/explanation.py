"""The picture of why a voice was called synthetic: its scores over time, what mattered in some windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from training.canvas import DPI, GREY, SYNTHETIC, png

Floats = npt.NDArray[np.floating[Any]]
LEAST_NATS = 0.5
"""The colours reach at least so far: where nothing matters much, nothing is painted strong."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One window and what mattered in it."""

    start_s: float
    end_s: float
    llr: float
    """Of the whole window, natural logarithm, synthetic over human."""
    spectrum: npt.NDArray[np.uint8]
    """``[bins, frames]``, lowest frequency first, 0 to 8 kHz."""
    drops: Floats
    """``[bands, columns]``: how far the log-likelihood ratio falls where this part is hidden."""
    edges_hz: Floats
    """``[bands + 1]``."""


def draw(
    path: Path,
    title: str,
    scores: Sequence[tuple[float, float | None]],
    driving: Sequence[tuple[float, float]],
    windows: Sequence[Seen],
) -> None:
    """Write the picture as PNG.

    Args:
        path: of the file.
        title: one line over all.
        scores: end of each window in seconds, and its score; None where it was not scored.
        driving: start and end of the windows that drove the decision.
        windows: those to look into, at most a few.
    """
    count = max(1, len(windows))
    figure = Figure(figsize=(max(7.0, 4.6 * count), 6.4 if windows else 2.8), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=12, x=0.01, ha="left", parse_math=False)
    grid = figure.add_gridspec(2 if windows else 1, count, height_ratios=[2, 3] if windows else None)
    _timeline(figure.add_subplot(grid[0, :]), scores, driving)
    reach = max([LEAST_NATS, *(float(np.abs(np.nan_to_num(seen.drops)).max()) for seen in windows)])
    panels = [figure.add_subplot(grid[1, number]) for number in range(len(windows))]
    for axes, seen in zip(panels, windows, strict=True):
        painted = _window(axes, seen, reach)
    if panels:
        bar = figure.colorbar(painted, ax=panels, shrink=0.9, pad=0.01)
        bar.set_label("fall of the log-likelihood ratio when hidden", fontsize=9)
    path.write_bytes(png(figure))


def _timeline(
    axes: Axes, scores: Sequence[tuple[float, float | None]], driving: Sequence[tuple[float, float]]
) -> None:
    for number, (start_s, end_s) in enumerate(driving):
        label = "windows that drove the decision" if number == 0 else None
        axes.axvspan(start_s, end_s, color=SYNTHETIC, alpha=0.12, lw=0, label=label)
    times = [end_s for end_s, _ in scores]
    values = [np.nan if score is None else score for _, score in scores]
    axes.plot(times, values, ".-", color="#3a86d4", lw=1, ms=4, label="score at the end of its window")
    axes.axhline(0.5, ls=":", color=GREY)
    axes.set(xlabel="seconds since the start", ylabel="score", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if scores or driving:
        axes.legend(loc="best", fontsize=8)


def _window(axes: Axes, seen: Seen, reach: float) -> Any:
    extent = (seen.start_s, seen.end_s, 0.0, 8.0)
    axes.imshow(seen.spectrum, origin="lower", extent=extent, aspect="auto", cmap="gray_r")
    drops = np.nan_to_num(seen.drops)
    times = np.linspace(seen.start_s, seen.end_s, drops.shape[1] + 1)
    painted = axes.pcolormesh(
        times,
        seen.edges_hz / 1000.0,
        drops,
        cmap="bwr",
        norm=TwoSlopeNorm(0.0, -reach, reach),
        edgecolors="none",
    )
    opacity: Any = 0.8 * np.sqrt(np.abs(drops) / reach)  # the stubs know of no arrays here
    painted.set_alpha(opacity)
    axes.set_title(f"log-likelihood ratio {seen.llr:+.1f}", fontsize=10)
    axes.set(xlabel="seconds since the start", ylabel="kHz", ylim=(0.0, 8.0))
    return painted
