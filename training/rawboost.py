"""RawBoost (Tak et al., "RawBoost: a raw data boosting and augmentation method", ICASSP 2022).

Three kinds of distortion that need no recordings: linear and non-linear convolutive noise, impulsive
signal-dependent noise, and stationary signal-independent noise. Settings are the paper's. Written from its
description; unlike there, powers are taken of the row scaled to full scale, so that the distortion does not
depend on the level, filters have no delay, and the level is kept.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.noise import mixed
from training.rows import as_loud, by_row

Taps = npt.NDArray[np.float64]
Kind = Literal["convolutive", "impulsive", "stationary"]

BANDS = 5
"""Notches of a filter."""
CENTRE_HZ = (20.0, 8_000.0)
WIDTH_HZ = (100.0, 1_000.0)
TAPS = (10, 100)
POWERS = 5
"""The non-linear part goes up to the fifth power."""
BELOW_DB = (5.0, 20.0)
"""So far below the linear part are the powers."""
SHARE = 0.1
"""Most samples that an impulse hits."""
IMPULSE = 2.0
"""Largest impulse, as a factor of the sample that it hits."""
SNR_DB = (10.0, 40.0)


@dataclass(frozen=True, slots=True)
class Notch:
    """A band that a filter takes out."""

    centre_hz: float
    width_hz: float
    taps: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Several notches in a row, and a gain."""

    notches: tuple[Notch, ...]
    gain_db: float

    def taps(self) -> Taps:
        """Symmetric impulse response, ``[odd]``; the loudest frequency passes at the gain."""
        taps = np.ones(1)
        for notch in self.notches:
            taps = np.convolve(taps, _band_stop(notch))
        scaled: Taps = taps * 10.0 ** (self.gain_db / 20.0) / np.abs(np.fft.rfft(taps, 1_024)).max()
        return scaled


@dataclass(frozen=True, slots=True)
class Distortion:
    """Which kinds in which order, with everything they need."""

    kinds: tuple[Kind, ...]
    powers: tuple[Filter, ...]
    """Of the convolutive noise: filter of the signal, its square, its cube."""
    share: float
    """Of the samples hit by impulses."""
    colour: Filter
    """Of the stationary noise."""
    snr_db: float
    seed: int


@dataclass(frozen=True, slots=True)
class RawBoost:
    """One of the paper's algorithms 1 to 3, or several in series."""

    series: tuple[tuple[Kind, ...], ...] = (
        ("convolutive",),
        ("impulsive",),
        ("stationary",),
        ("convolutive", "impulsive"),
        ("convolutive", "impulsive", "stationary"),
    )

    def draw(self, rng: np.random.Generator) -> Distortion:
        """Kinds, filters, strengths and a seed."""
        kinds = self.series[rng.integers(len(self.series))]
        powers = [_filter(rng, 0.0)]
        powers += [_filter(rng, -float(rng.uniform(*BELOW_DB))) for _ in range(POWERS - 1)]
        share, snr = float(rng.uniform(0.0, SHARE)), float(rng.uniform(*SNR_DB))
        return Distortion(kinds, tuple(powers), share, _filter(rng, 0.0), snr, int(rng.integers(2**31)))

    def apply(self, samples: Samples, parameters: Distortion) -> Samples:
        """Distorted, as loud as before."""
        distort = {"convolutive": _convolutive, "impulsive": _impulsive, "stationary": _stationary}

        def boosted(row: Samples) -> Samples:
            for kind in parameters.kinds:
                row = distort[kind](row, parameters)
            return row

        return as_loud(by_row(samples, boosted), samples)


def _filter(rng: np.random.Generator, gain_db: float) -> Filter:
    notches = [
        Notch(float(rng.uniform(*CENTRE_HZ)), float(rng.uniform(*WIDTH_HZ)), int(rng.integers(*TAPS)))
        for _ in range(BANDS)
    ]
    return Filter(tuple(notches), gain_db)


def _band_stop(notch: Notch) -> Taps:
    """All but the difference of two windowed-sinc low-passes (Hamming)."""
    half = notch.taps // 2
    time = np.arange(-half, half + 1)
    edges = (notch.centre_hz - notch.width_hz / 2, notch.centre_hz + notch.width_hz / 2)
    low, high = (2.0 * np.clip(edge, 1.0, SAMPLE_RATE / 2 - 1.0) / SAMPLE_RATE for edge in edges)
    passed = (high * np.sinc(high * time) - low * np.sinc(low * time)) * np.hamming(len(time))
    stopped: Taps = (time == 0) - passed
    return stopped


def _filtered(row: Samples, taps: Taps) -> Samples:
    length = 1 << (len(row) + len(taps)).bit_length()
    whole = np.fft.irfft(np.fft.rfft(row, length) * np.fft.rfft(taps, length), length)
    return whole[len(taps) // 2 :][: len(row)].astype(np.float32)


def _convolutive(row: Samples, parameters: Distortion) -> Samples:
    """Algorithm 1: the sum of the filtered powers of the signal (Hammerstein), without its mean."""
    peak = max(float(np.abs(row).max()), 1e-9)
    scaled = row / peak
    power, heard = np.ones_like(row), np.zeros_like(row)
    for part in parameters.powers:
        power = power * scaled
        heard += _filtered(power, part.taps())
    return np.asarray(peak * (heard - heard.mean()), np.float32)


def _impulsive(row: Samples, parameters: Distortion) -> Samples:
    """Algorithm 2: some samples move by a random factor, the product of two uniform ones, of themselves."""
    rng = np.random.default_rng(parameters.seed)
    hit = rng.permutation(len(row))[: round(parameters.share * len(row))]
    factor = IMPULSE * rng.uniform(-1.0, 1.0, len(hit)) * rng.uniform(-1.0, 1.0, len(hit))
    struck = row.copy()
    struck[hit] += (factor * row[hit]).astype(np.float32)
    return struck


def _stationary(row: Samples, parameters: Distortion) -> Samples:
    """Algorithm 3: filtered white noise at a signal-to-noise ratio."""
    noise = np.random.default_rng(parameters.seed + 1).standard_normal(len(row), np.float32)
    coloured = _filtered(noise, parameters.colour.taps())
    return mixed(row, coloured, parameters.snr_db)
