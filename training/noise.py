"""What else is heard: white and pink noise, and recordings without speech."""

from dataclasses import dataclass

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.pcm import PcmCache, to_float
from training.rows import rms


@dataclass(frozen=True, slots=True)
class White:
    """Level and seed of white noise; the seed makes the noise part of the parameters."""

    deviation: float
    """Full scale is 1."""
    seed: int


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """White noise of a standard deviation between two bounds."""

    low: float = 0.001
    high: float = 0.01

    def draw(self, rng: np.random.Generator) -> White:
        """Level and seed."""
        return White(float(rng.uniform(self.low, self.high)), int(rng.integers(2**31)))

    def apply(self, samples: Samples, parameters: White) -> Samples:
        """Noise added; all rows of a batch get the same."""
        noise = np.random.default_rng(parameters.seed).standard_normal(samples.shape[-1], np.float32)
        return samples + np.float32(parameters.deviation) * noise


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Which recording is mixed in, from where and how loud."""

    clip: int
    start: float
    """Share of the room there is."""
    snr_db: float


@dataclass(frozen=True, slots=True)
class Noise:
    """A recording without speech, noise or music, added at a signal-to-noise ratio."""

    recordings: PcmCache
    low_db: float = 0.0
    high_db: float = 30.0

    def draw(self, rng: np.random.Generator) -> Backdrop:
        """Recording, place and ratio."""
        clip = int(rng.integers(len(self.recordings)))
        return Backdrop(clip, float(rng.random()), float(rng.uniform(self.low_db, self.high_db)))

    def apply(self, samples: Samples, parameters: Backdrop) -> Samples:
        """Mixed by the power of each row; digital silence stays silent."""
        noise = to_float(self.recordings[parameters.clip])
        first = round(parameters.start * max(0, len(noise) - samples.shape[-1]))
        return mixed(samples, np.resize(noise[first:], samples.shape[-1]), parameters.snr_db)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Float32 ``[..., n]`` with noise ``[n]`` added, so many decibels below the power of each row."""
    level = rms(samples) / np.maximum(rms(noise), np.float32(1e-6)) * np.float32(10.0 ** (-snr_db / 20.0))
    noisy: Samples = (samples + level * noise).astype(np.float32)
    return noisy


def pink(n: int) -> Samples:
    """Pink noise (power falling with frequency, nothing below 20 Hz), float32 ``[n]`` of deviation about 1.

    By formula, so that no version of a random generator changes it: phases are the fractional parts of a
    large multiple of a sine.
    """
    hertz = np.fft.rfftfreq(n, 1.0 / SAMPLE_RATE)
    phase = np.modf(43_758.5453 * np.sin(12.9898 * np.arange(len(hertz))))[0]
    spectrum = np.where(hertz >= 20.0, np.exp(2j * np.pi * phase) / np.sqrt(np.maximum(hertz, 20.0)), 0.0)
    noise = np.fft.irfft(spectrum, n)
    return (noise / max(float(np.std(noise)), 1e-12)).astype(np.float32)
