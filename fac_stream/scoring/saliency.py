"""Where in a window the model heard what it heard: occlusion over time and frequency. No asyncio.

After Zeiler and Fergus, "Visualizing and understanding convolutional networks" (ECCV 2014): hide a part,
score again, and look how far the score falls. It asks nothing of the model but scores, so it works with any
backend.

::

    window ──STFT──► frames by bins        a cell of the grid, pushed down to the floor of its bins
                     ├──┼──┼──┼──┤                         │
                     ├──┼▓▓┼──┼──┤  ──what was taken, back as a wave──►  window - taken  ──► scored again
                     ├──┼──┼──┼──┤

A hidden cell is not emptied, but pushed down to the bin's own quiet moments in that window, phases kept: a
hole would be a sound that no telephone makes, and the model might score the hole.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.scoring.base import Scorer

COLUMNS, BANDS = 16, 12
"""Of the grid: an eighth of a second each; bands of equal width on the mel scale."""
FRAME, HOP = 512, 128
QUIET = 10.0
"""Percentile of a bin's magnitudes in the window that stands for its quiet moments."""
BATCH = 64
"""Waves at a time, which bounds the memory to some tens of megabytes."""
PICTURE_DB = 70.0
"""How far below its loudest point the picture of a spectrum reaches."""

Floats = npt.NDArray[np.floating[Any]]

_TAPER = np.sqrt(np.hanning(FRAME + 1)[:-1])
"""For analysis and synthesis: their product, a Hann window at a quarter of its length, adds up to 2."""


@dataclass(frozen=True, slots=True)
class Saliency:
    """How far the log-likelihood ratio of a window falls where a part of it is hidden."""

    llr: float
    """Of the whole window, natural logarithm, synthetic over human."""
    drops: Floats
    """``[BANDS, COLUMNS]``, lowest band first: positive where the cell spoke for a synthetic voice. NaN where
    nothing was left to score."""


class Occlusion:
    """One window, and the waves in which one cell after the other is hidden."""

    def __init__(self, samples: Samples) -> None:
        """``samples``: float32 ``[n]`` at 16 kHz, as the scorer got it."""
        self._samples = samples
        self._spectrum = _spectrum(samples)
        magnitude = np.abs(self._spectrum)
        floor = np.percentile(magnitude, QUIET, axis=0, keepdims=True)
        # What goes when a frame and bin is hidden: everything above the floor.
        self._taken = self._spectrum * np.maximum(0.0, 1.0 - floor / np.maximum(magnitude, 1e-12))
        self._rows = np.searchsorted(np.arange(FRAME // 2 + 1) * SAMPLE_RATE / FRAME, edges_hz())
        self._rows[-1] = FRAME // 2 + 1  # the bin at 8 kHz belongs to the last band
        centres = np.arange(len(self._spectrum)) * HOP - FRAME // 2
        self._frames = np.searchsorted(centres, np.linspace(0, len(samples), COLUMNS + 1))
        self._frames[[0, -1]] = 0, len(self._spectrum)

    def waves(self, first: int, count: int) -> Samples:
        """Cell ``first`` hidden, then the next ones, band by band: float32 ``[≤ count, n]``."""
        cells = range(first, min(first + count, BANDS * COLUMNS))
        return np.stack([self.hidden([divmod(cell, COLUMNS)]) for cell in cells])

    def hidden(self, cells: list[tuple[int, int]]) -> Samples:
        """The window with several cells hidden, (band, column) each; float32 ``[n]``."""
        taken = np.zeros((len(self._spectrum) - 1) * HOP + FRAME)
        for column in sorted({column for _, column in cells}):
            begin, end = self._frames[column], self._frames[column + 1]
            part = np.zeros_like(self._taken[begin:end])
            for band in (band for band, other in cells if other == column):
                rows = slice(self._rows[band], self._rows[band + 1])
                part[:, rows] = self._taken[begin:end, rows]
            for frame, wave in enumerate(np.fft.irfft(part, FRAME, axis=1) * _TAPER / 2.0, begin):
                taken[frame * HOP : frame * HOP + FRAME] += wave
        kept: Samples = (self._samples - taken[FRAME : FRAME + len(self._samples)]).astype(np.float32)
        return kept


def saliency_of(samples: Samples, scorer: Scorer) -> Saliency:
    """Hide each cell in turn and score; 193 windows, in batches.

    Args:
        samples: float32 ``[32000]`` at 16 kHz.
        scorer: of any backend.

    Raises:
        ScorerError: the model failed.
    """
    occlusion = Occlusion(samples)
    batches = [occlusion.waves(first, BATCH) for first in range(0, BANDS * COLUMNS, BATCH)]
    scores = [scorer.score(waves).synthetic for waves in (samples[None], *batches)]
    return drops(np.concatenate(scores))


def drops(scores: Floats) -> Saliency:
    """From the score of the whole window, then with each cell hidden, ``[1 + BANDS * COLUMNS]``."""
    llrs = log_likelihood(scores)
    return Saliency(float(llrs[0]), (llrs[0] - llrs[1:]).reshape(BANDS, COLUMNS))


def log_likelihood(scores: Floats) -> Floats:
    """The log-likelihood ratios of calibrated scores, as exact as a float32 score tells."""
    certain = np.finfo(np.float32).eps
    odds = np.clip(np.asarray(scores, np.float64), certain, 1.0 - certain)
    return np.asarray(np.log(odds / (1.0 - odds)))


def edges_hz() -> Floats:
    """Of the bands, Hertz, ``[BANDS + 1]``: equal steps on O'Shaughnessy's mel scale, from 0 to 8 kHz."""
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0), BANDS + 1)
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


def picture(samples: Samples) -> npt.NDArray[np.uint8]:
    """The spectrum as a picture: uint8 ``[257, frames]``, lowest frequency first; 255 is the loudest."""
    power = np.abs(_spectrum(samples)[FRAME // 2 // HOP : -(FRAME // 2 // HOP)]).T ** 2
    decibels = 10.0 * np.log10(np.maximum(power / max(power.max(), 1e-20), 10.0 ** (-PICTURE_DB / 10.0)))
    shown: npt.NDArray[np.uint8] = np.round(255.0 * (1.0 + decibels / PICTURE_DB)).astype(np.uint8)
    return shown


def _spectrum(samples: Samples) -> npt.NDArray[np.complex128]:
    """Complex ``[frames, 257]``; the first frame ends with the sample before the first."""
    padded = np.pad(samples.astype(np.float64), (FRAME, FRAME + -len(samples) % HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return np.asarray(np.fft.rfft(frames * _TAPER, axis=1))
