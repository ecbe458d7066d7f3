"""How a window was recorded: level, bandwidth, clipping, noise, and whether it came over a telephone.

The calibration of a window depends on its channel, and whoever reads a score should know when the input
leaves the range on which the bundle was calibrated.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]

FRAME = 512
"""Samples of one frame of the spectrum, 32 ms; frames do not overlap."""
BIN_HZ = 16_000 / FRAME
BANDS = 64
"""Of 125 Hz each: wide enough to bridge the gaps between the harmonics of a low voice."""
REACH_DB = 60.0
"""How far below the loudest band a band may lie that still counts as bandwidth."""
EDGE_DB = 26.0
"""How far 4.4 to 7 kHz lie below 2.4 to 3.4 kHz on a telephone.

On 1,682 windows of the dev corpus with more than 6 kHz of bandwidth they lie 24 dB below at the 0.5th
percentile; after G.711, 83 dB at the least; after G.711 and Opus at 12 kbit/s, whose noise reaches above
4 kHz, 27 dB at the 99th.
"""
EMPTY_DB = 55.0
"""How far they lie below 0.3 to 3.4 kHz where the upper half of the telephone band is empty, too."""
CLIPPED = 0.98
"""Of the window's peak: recordings that were clipped and then made quieter count, too."""
MAX_SNR_DB = 100.0
FLAGS = ("quiet", "narrowband", "clipped", "noisy")
"""What is said of a window that is more so than those of calibration. Louder, wider or cleaner is no harm."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of windows, each ``[B]``."""

    level_dbfs: Floats
    """RMS, dB relative to full scale; -inf for digital silence."""
    bandwidth_hz: Floats
    """Upper edge of the highest 125 Hz band that is within 60 dB of the loudest; 0 for digital silence."""
    clipped_share: Floats
    """Share of the samples within 2 % of the window's peak: 1e-4 for speech, 0.13 for a pure tone."""
    snr_db: Floats
    """From the quiet 32 ms frames (10th percentile) to the loud ones (95th): from 0 to 100."""
    telephone: Flags
    """The band above 4 kHz is empty, but for what a codec adds on the way."""

    def __getitem__(self, chosen: slice | npt.NDArray[Any]) -> Self:
        """Some of the windows."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))


Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class QualityRange:
    """Between what the windows of calibration lie, 1st to 99th percentile of each measure."""

    level_dbfs: Range
    bandwidth_hz: Range
    clipped_share: Range
    snr_db: Range

    @classmethod
    def of(cls, quality: Quality) -> Self:
        """The range of these windows, of which there must be some, none of them silent."""
        low, high = 1.0, 99.0
        measures = (getattr(quality, field.name) for field in fields(cls))
        return cls(*((float(np.percentile(m, low)), float(np.percentile(m, high))) for m in measures))

    def flags(self, quality: Quality) -> list[list[str]]:
        """What leaves the range, in words of ``FLAGS``; a list a window, empty where nothing does."""
        outside = {
            "quiet": quality.level_dbfs < self.level_dbfs[0],
            "narrowband": quality.bandwidth_hz < self.bandwidth_hz[0],
            "clipped": quality.clipped_share > self.clipped_share[1],
            "noisy": quality.snr_db < self.snr_db[0],
        }
        return [[flag for flag in FLAGS if outside[flag][i]] for i in range(len(quality.level_dbfs))]


def measure(waves: npt.NDArray[np.float32]) -> Quality:
    """Measure windows: float32 ``[B, 32000]`` at 16 kHz, full scale at ±1. About 0.2 ms a window."""
    frames = waves[:, : waves.shape[1] // FRAME * FRAME].reshape(len(waves), -1, FRAME)
    spectrum = np.fft.rfft(frames * _HANN, axis=-1)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=1)  # [B, FRAME / 2 + 1]
    return Quality(
        level_dbfs=_decibels(np.square(waves).mean(axis=1)),
        bandwidth_hz=_bandwidth_hz(power),
        clipped_share=_clipped_share(waves),
        snr_db=_snr_db(np.sort(np.square(frames).mean(axis=-1), axis=1)),
        telephone=_is_telephone(power),
    )


def is_telephone(waves: npt.NDArray[np.float32]) -> Flags:
    """Whether the band above 4 kHz is empty, ``[B]``; ``waves`` as for ``measure``."""
    return measure(waves).telephone


_LEAST = np.float32(1e-20)
"""Power far under one bit of 16-bit audio."""
_HANN = np.hanning(FRAME + 1)[:-1].astype(np.float32)


def _decibels(power: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(power))


def _bandwidth_hz(power: Floats) -> Floats:
    bands = power[:, : FRAME // 2].reshape(len(power), BANDS, -1).mean(axis=-1)
    loud = bands > bands.max(axis=1, keepdims=True) * 10.0 ** (-REACH_DB / 10.0)
    highest = BANDS - np.argmax(loud[:, ::-1], axis=1)
    return np.where(loud.any(axis=1), highest * (8_000.0 / BANDS), 0.0)


def _clipped_share(waves: Floats) -> Floats:
    magnitude = np.abs(waves)
    peak = magnitude.max(axis=1, keepdims=True)
    return np.asarray(((magnitude >= CLIPPED * peak) & (peak > 0)).mean(axis=1))


def _snr_db(powers: Floats) -> Floats:
    """Frame powers ``[B, frames]`` in rising order to ``[B]``."""
    count = powers.shape[1]
    loud, quiet = powers[:, int(0.95 * count)], powers[:, int(0.1 * count)]
    # Digital silence between words, or everywhere, is no division by zero.
    ratio = (loud + _LEAST) / (quiet + _LEAST)
    return np.minimum(_decibels(ratio), MAX_SNR_DB)


def _is_telephone(power: Floats) -> Flags:
    above, edge, voice = (
        _density(power, 4_400, 7_000),
        _density(power, 2_400, 3_400),
        _density(power, 300, 3_400),
    )
    return np.asarray(
        (above < edge * 10.0 ** (-EDGE_DB / 10.0)) | (above < voice * 10.0 ** (-EMPTY_DB / 10.0))
    )


def _density(power: Floats, low_hz: float, high_hz: float) -> Floats:
    return np.asarray(power[:, round(low_hz / BIN_HZ) : round(high_hz / BIN_HZ)].mean(axis=1))
