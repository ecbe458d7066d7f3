"""Sampling rates: through another rate and back, and faster or slower."""

from dataclasses import dataclass

import numpy as np
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.resample import Resampler
from training.rows import by_row, fit


@dataclass(frozen=True, slots=True)
class Detour:
    """A rate on the way."""

    hertz: int
    quality: str
    """Of soxr, on the way there: from QQ (cubic interpolation, as cheap devices do it) to VHQ."""


@dataclass(frozen=True, slots=True)
class Resample:
    """Through the rate of some device or file; the daemon's own resampler brings it back."""

    rates: tuple[int, ...] = (8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    qualities: tuple[str, ...] = ("QQ", "LQ", "MQ", "HQ", "VHQ")

    def draw(self, rng: np.random.Generator) -> Detour:
        """Rate and quality."""
        rate = self.rates[rng.integers(len(self.rates))]
        return Detour(rate, self.qualities[rng.integers(len(self.qualities))])

    def apply(self, samples: Samples, parameters: Detour) -> Samples:
        """There and back, as long as before."""
        return by_row(samples, lambda row: _there_and_back(row, parameters))


def _there_and_back(row: Samples, detour: Detour) -> Samples:
    resampler = Resampler(detour.hertz, 1)
    there = soxr.resample(row, SAMPLE_RATE, detour.hertz, detour.quality).astype(np.float32)
    return fit(np.concatenate((resampler.push(there[:, None]), resampler.flush()))[:, 0], len(row))


@dataclass(frozen=True, slots=True)
class Tempo:
    """How much faster."""

    factor: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Played faster or slower, which moves the pitch too (Ko et al. 2015)."""

    low: float = 0.9
    high: float = 1.1

    def draw(self, rng: np.random.Generator) -> Tempo:
        """Uniform in the factor."""
        return Tempo(float(rng.uniform(self.low, self.high)))

    def apply(self, samples: Samples, parameters: Tempo) -> Samples:
        """Cut where it became longer, begun anew where it became shorter."""

        def played(row: Samples) -> Samples:
            return np.resize(soxr.resample(row, SAMPLE_RATE * parameters.factor, SAMPLE_RATE), len(row))

        return by_row(samples, played)
