"""How all pictures look: sizes, colours of light and dark, words for conditions, PNG."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

NAMES = {
    "wideband": "wideband",
    "resampled": "from 48 kHz",
    "g711": "G.711",
    "opus_loss": "Opus 12 kbit/s, 5 % lost",
    "noise_10db": "noise at 10 dB",
    "room": "room",
}
"""Conditions in words."""
COLOURS = {
    "wideband": "#3a86d4",
    "resampled": "#2a9d8f",
    "g711": "#e0742c",
    "opus_loss": "#9b6bd6",
    "noise_10db": "#d1567f",
    "room": "#9a9a3c",
}
"""Of conditions: seen on white and on black."""
HUMAN, SYNTHETIC, GREY = "#2a9d5a", "#d04a62", "#8a8f98"
KINDS = ("#3a86d4", "#e0742c", "#2a9d8f", "#9b6bd6", "#d1567f", "#9a9a3c", "#6c757d", "#b5651d")
DPI = 110

INK = {False: ("#ffffff", "#1c2024"), True: ("#15181c", "#e4e7eb")}
"""Ground and writing, light and dark."""


def name_of(condition: str) -> str:
    """In words; a condition without words is its own name."""
    return NAMES.get(condition, condition)


def colour_of(condition: str) -> str:
    """Of its lines and marks."""
    return COLOURS.get(condition, GREY)


def short(name: str, limit: int = 30) -> str:
    """A name for an axis: of ``owner/page.github.io`` only ``page``, and at most ``limit`` characters."""
    words = name.rsplit("/", 1)[-1].removesuffix(".github.io")
    return words if len(words) <= limit else f"{words[: limit - 1]}…"


@contextmanager
def theme(*, dark: bool) -> Iterator[None]:
    """All figures made inside are light or dark."""
    ground, ink = INK[dark]
    parts = (
        "text.color",
        "axes.labelcolor",
        "axes.edgecolor",
        "xtick.color",
        "ytick.color",
        "axes.titlecolor",
    )
    grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    settings: dict[Any, Any] = {**dict.fromkeys(parts, ink), **dict.fromkeys(grounds, ground)}
    settings |= {"grid.color": GREY, "legend.edgecolor": GREY, "font.size": 10}
    with mpl.rc_context(settings):
        yield


def panels(count: int, title: str, size: tuple[float, float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side; ``size`` in inches of the whole."""
    default = (6.4, 5.4) if count == 1 else (4.6 * count, 4.4)
    figure = Figure(figsize=size or default, dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=13, x=0.01, ha="left")
    axes = [figure.add_subplot(1, count, number + 1) for number in range(count)]
    for each in axes:
        each.grid(alpha=0.25)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def percent(axes: Axes, *which: str) -> None:
    """Write an axis, ``x`` or ``y``, in percent."""
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))


def png(figure: Figure) -> bytes:
    """A figure as a file of 256 colours, a third of what all colours would take."""
    drawn, file = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(drawn, format="png")
    picture = Image.open(drawn).convert("RGB")
    # An octree keeps rare colours, which the median cut merges: the few red cells of a green matrix.
    few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, "png", optimize=True)
    return file.getvalue()
