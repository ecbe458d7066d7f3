"""Loudness: gain, overdriven inputs, and the automatic gain control of microphones and lines."""

from dataclasses import dataclass

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.rows import by_row

FULL_SCALE = np.float32(32_768.0)
BLOCK = SAMPLE_RATE // 100
"""Samples over which the gain control measures: 10 ms."""


@dataclass(frozen=True, slots=True)
class Decibels:
    """A change of level."""

    db: float


@dataclass(frozen=True, slots=True)
class Gain:
    """Louder or quieter in 16 bits, as a sound card does it: what exceeds full scale is clipped.

    What is turned down far loses its finest bits for good; the noise of that is part of a quiet recording.
    """

    low_db: float = -36.0
    high_db: float = 9.0

    def draw(self, rng: np.random.Generator) -> Decibels:
        """Uniform in decibels."""
        return Decibels(float(rng.uniform(self.low_db, self.high_db)))

    def apply(self, samples: Samples, parameters: Decibels) -> Samples:
        """Scaled, rounded to 16 bits and clipped to ±1."""
        scaled = np.rint(samples * (np.float32(10.0 ** (parameters.db / 20.0)) * FULL_SCALE))
        louder: Samples = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE
        return louder


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Where a sound is cut off."""

    percentile: float
    """Of the magnitudes of the row."""
    soft: bool
    """Bent by a hyperbolic tangent, as an amplifier does, not cut as a converter does."""


@dataclass(frozen=True, slots=True)
class Clipping:
    """An input that was set too high."""

    low: float = 90.0
    high: float = 99.9

    def draw(self, rng: np.random.Generator) -> Ceiling:
        """Height, and hard or soft."""
        return Ceiling(float(rng.uniform(self.low, self.high)), bool(rng.random() < 0.5))

    def apply(self, samples: Samples, parameters: Ceiling) -> Samples:
        """Cut by each row's own magnitudes; what is below stays as loud as it was if the clipping is hard."""
        top = np.percentile(np.abs(samples), parameters.percentile, axis=-1, keepdims=True)
        top = np.maximum(top, 1e-6).astype(np.float32)
        clipped: Samples = (
            top * np.tanh(samples / top) if parameters.soft else np.clip(samples, -top, top)
        ).astype(np.float32)
        return clipped


@dataclass(frozen=True, slots=True)
class Control:
    """How a gain control is set."""

    target_dbfs: float
    """Level of 10 ms that it aims at."""
    most_db: float
    """It turns neither up nor down by more."""
    attack_s: float
    """Time constant of turning down."""
    release_s: float
    """Time constant of turning up."""


@dataclass(frozen=True, slots=True)
class GainControl:
    """A slow gain towards a target level, which holds where nobody speaks."""

    target_dbfs: tuple[float, float] = (-26.0, -12.0)
    most_db: tuple[float, float] = (6.0, 30.0)
    attack_s: tuple[float, float] = (0.005, 0.05)
    release_s: tuple[float, float] = (0.1, 1.0)

    def draw(self, rng: np.random.Generator) -> Control:
        """Target, limit and both time constants."""
        ranges = (self.target_dbfs, self.most_db, self.attack_s, self.release_s)
        target, most, attack, release = (float(rng.uniform(low, high)) for low, high in ranges)
        return Control(target, most, attack, release)

    def apply(self, samples: Samples, parameters: Control) -> Samples:
        """Levelled and clipped to ±1. It starts at the gain that fits the whole row: calls are long."""
        return by_row(samples, lambda row: _level(row, parameters))


def _level(row: Samples, control: Control) -> Samples:
    blocks = np.pad(row, (0, -len(row) % BLOCK)).reshape(-1, BLOCK)
    level = 10.0 * np.log10(np.mean(np.square(blocks), axis=1) + 1e-12)
    average = 10.0 * np.log10(np.mean(np.square(row)) + 1e-12)
    wanted = np.clip(control.target_dbfs - level, -control.most_db, control.most_db)
    heard = level > max(-65.0, average - 30.0)
    attack, release = (1.0 - np.exp(-0.01 / seconds) for seconds in (control.attack_s, control.release_s))
    gain = float(np.clip(control.target_dbfs - average, -control.most_db, control.most_db))
    gains = []
    for aim, active in zip(wanted.tolist(), heard.tolist(), strict=True):
        if active:
            gain += (attack if aim < gain else release) * (aim - gain)
        gains.append(gain)
    decibels = np.interp(np.arange(len(row)), (np.arange(len(gains)) + 0.5) * BLOCK, gains)
    levelled: Samples = np.clip(row * 10.0 ** (decibels / 20.0), -1.0, 1.0).astype(np.float32)
    return levelled
