"""Augmentations: each draws frozen parameters from a random generator, and applies them without chance.

The five of the predecessor by name (``time_mask``, ``frequency_mask``, ``gaussian_noise``, ``codec``,
``pitch_shift``), and what a telephone does to a voice (``telephone``, ``noise``, ``gain``). ``apply`` takes
float32 ``[..., n]`` and gives the same shape back; both masks work on images ``[..., mels, frames]`` after
the z-score.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.codec import Codec
from training.pcm import PcmCache, to_float
from training.rows import by_row, fit
from training.telephony import Telephone
from training.vocoder import stretch

Images = npt.NDArray[np.float32]
P = TypeVar("P")


class Augmentation(Protocol[P]):
    """One kind of change; its settings are the fields of the class."""

    def draw(self, rng: np.random.Generator) -> P:
        """Throw the dice."""

    def apply(self, samples: Samples, parameters: P) -> Samples:
        """The same samples and parameters give the same result."""


@dataclass(frozen=True, slots=True)
class Stripes:
    """Bands of a mask: start as a share of the room there is, width in bins or frames."""

    starts: tuple[float, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Fill one or two stripes with 0, which is the mean after the z-score (SpecAugment, Park et al. 2019)."""

    axis: Literal[-1, -2]
    """-1 masks frames, -2 mel bands."""
    max_width: int = 20
    max_stripes: int = 2

    def draw(self, rng: np.random.Generator) -> Stripes:
        """Number, places and widths."""
        count = int(rng.integers(1, self.max_stripes + 1))
        widths = tuple(int(width) for width in rng.integers(1, self.max_width + 1, count))
        return Stripes(tuple(float(start) for start in rng.random(count)), widths)

    def apply(self, samples: Images, parameters: Stripes) -> Images:
        """Masked copy of float32 ``[..., mels, frames]``."""
        image = np.moveaxis(samples.copy(), self.axis, -1)
        for start, width in zip(parameters.starts, parameters.widths, strict=True):
            first = round(start * max(0, image.shape[-1] - width))
            image[..., first : first + width] = 0.0
        return np.ascontiguousarray(np.moveaxis(image, -1, self.axis))


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
class Shift:
    """How far the pitch moves."""

    semitones: float


@dataclass(frozen=True, slots=True)
class PitchShift:
    """Stretch by a phase vocoder, then resample to the old length.

    It leaves traces like a vocoder's, so it must fall on both classes alike.
    """

    semitones: float = 2.0

    def draw(self, rng: np.random.Generator) -> Shift:
        """Uniform in semitones, up or down."""
        return Shift(float(rng.uniform(-self.semitones, self.semitones)))

    def apply(self, samples: Samples, parameters: Shift) -> Samples:
        """Higher or lower, as long as before."""
        factor = 2.0 ** (parameters.semitones / 12.0)

        def shift(row: Samples) -> Samples:
            return fit(soxr.resample(stretch(row, factor), SAMPLE_RATE * factor, SAMPLE_RATE), len(row))

        return by_row(samples, shift)


@dataclass(frozen=True, slots=True)
class Decibels:
    """A change of level."""

    db: float


@dataclass(frozen=True, slots=True)
class Gain:
    """Louder or quieter; what exceeds full scale is clipped, as a sound card clips it."""

    low_db: float = -12.0
    high_db: float = 9.0

    def draw(self, rng: np.random.Generator) -> Decibels:
        """Uniform in decibels."""
        return Decibels(float(rng.uniform(self.low_db, self.high_db)))

    def apply(self, samples: Samples, parameters: Decibels) -> Samples:
        """Scaled and clipped to ±1."""
        louder: Samples = np.clip(samples * np.float32(10.0 ** (parameters.db / 20.0)), -1.0, 1.0)
        return louder


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Which recording is mixed in, from where and how loud."""

    clip: int
    start: float
    """Share of the room there is."""
    snr_db: float


@dataclass(frozen=True, slots=True)
class Noise:
    """A recording without speech, added at a signal-to-noise ratio."""

    recordings: PcmCache
    low_db: float = 5.0
    high_db: float = 30.0

    def draw(self, rng: np.random.Generator) -> Backdrop:
        """Recording, place and ratio."""
        clip = int(rng.integers(len(self.recordings)))
        return Backdrop(clip, float(rng.random()), float(rng.uniform(self.low_db, self.high_db)))

    def apply(self, samples: Samples, parameters: Backdrop) -> Samples:
        """Mixed by the power of each row; digital silence stays silent."""
        noise = to_float(self.recordings[parameters.clip])
        first = round(parameters.start * max(0, len(noise) - samples.shape[-1]))
        noise = np.resize(noise[first:], samples.shape[-1])
        power = np.mean(np.square(samples), axis=-1, keepdims=True)
        ratio = 10.0 ** (parameters.snr_db / 10.0) * (np.mean(np.square(noise)) + 1e-12)
        mixed: Samples = (samples + noise * np.sqrt(power / ratio)).astype(np.float32)
        return mixed


WAVE = ("gain", "noise", "gaussian_noise", "pitch_shift", "codec", "telephone")
"""Order in which a sound passes them: the room first, the line last."""
IMAGE = ("time_mask", "frequency_mask")


def augmentations(noise: PcmCache | None) -> dict[str, Augmentation[Any]]:
    """All by name with their default settings; ``noise`` is left out where there are no recordings."""
    every: dict[str, Augmentation[Any]] = {
        "time_mask": Mask(axis=-1),
        "frequency_mask": Mask(axis=-2),
        "gaussian_noise": GaussianNoise(),
        "codec": Codec(),
        "pitch_shift": PitchShift(),
        "telephone": Telephone(),
        "gain": Gain(),
    }
    return every if noise is None else {**every, "noise": Noise(noise)}
