"""Augmentations: each draws frozen parameters from a random generator, and applies them without chance.

The five of the predecessor by name (``time_mask``, ``frequency_mask``, ``gaussian_noise``, ``codec``,
``pitch_shift``), and what happens to a voice between a mouth and a daemon. ``apply`` takes float32
``[..., n]`` at 16 kHz and gives the same shape back; both masks work on images ``[..., bands, frames]``.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.codec import Codec
from training.level import Clipping, Gain, GainControl
from training.noise import GaussianNoise, Noise
from training.packet_loss import PacketLoss
from training.pcm import PcmCache
from training.rate import Resample, Speed
from training.rawboost import RawBoost
from training.room import Room
from training.rows import by_row, fit
from training.telephony import AMR, G711, G722, GSM, OPUS, BandLimit, SpeechCodec, Telephone
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
    """Fill one or two stripes with the mean of the image (SpecAugment, Park et al. 2019)."""

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
        """Masked copy of float32 ``[..., bands, frames]``."""
        mean = samples.mean(axis=(-1, -2))[..., None, None]
        image = np.moveaxis(samples.copy(), self.axis, -1)
        for start, width in zip(parameters.starts, parameters.widths, strict=True):
            first = round(start * max(0, image.shape[-1] - width))
            image[..., first : first + width] = mean
        return np.ascontiguousarray(np.moveaxis(image, -1, self.axis))


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


WAVE = (
    "speed",
    "pitch_shift",
    "room",
    "noise",
    "music",
    "gaussian_noise",
    "gain",
    "clipping",
    "agc",
    "rawboost",
    "resample",
    "codec",
    "band_limit",
    "g722",
    "opus",
    "voip",
    "g711",
    "gsm",
    "amr",
    "telephone",
    "packet_loss",
)
"""Order in which a sound passes them: the voice first, then room, microphone and file, the line last."""
IMAGE = ("time_mask", "frequency_mask")


def augmentations(noise: PcmCache | None, music: PcmCache | None = None) -> dict[str, Augmentation[Any]]:
    """All by name with their default settings.

    Args:
        noise: recordings without speech; ``noise`` is left out where there are none.
        music: those of them that are music; ``music`` is left out where there are none.
    """
    every: dict[str, Augmentation[Any]] = {
        "time_mask": Mask(axis=-1),
        "frequency_mask": Mask(axis=-2),
        "speed": Speed(),
        "pitch_shift": PitchShift(),
        "room": Room(),
        "gaussian_noise": GaussianNoise(),
        "gain": Gain(),
        "clipping": Clipping(),
        "agc": GainControl(),
        "rawboost": RawBoost(),
        "resample": Resample(),
        "codec": Codec(),
        "band_limit": BandLimit(),
        "g711": SpeechCodec(G711),
        "g722": SpeechCodec(G722),
        "gsm": SpeechCodec(GSM),
        "amr": SpeechCodec(AMR),
        "opus": SpeechCodec(OPUS),
        "voip": SpeechCodec((*G722, *OPUS), lossy=0.3),
        "telephone": Telephone(),
        "packet_loss": PacketLoss(),
    }
    for name, recordings in (("noise", noise), ("music", music)):
        if recordings is not None and len(recordings):
            every[name] = Noise(recordings)
    return every
