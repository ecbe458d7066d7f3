"""Augmentations: each draws frozen parameters from a random generator, and applies them without chance.

The five of the predecessor by name (``time_mask``, ``frequency_mask``, ``gaussian_noise``, ``codec``,
``pitch_shift``), and what a telephone does to a voice (``telephone``, ``noise``, ``gain``). ``apply`` takes
float32 ``[..., n]`` and gives the same shape back; both masks work on images ``[..., mels, frames]`` after
the z-score.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import SAMPLE_RATE, Encoding, Samples
from training.pcm import PcmCache, to_float
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
class Coding:
    """Which codec at which bit rate."""

    codec: Literal["mp3", "aac", "opus", "vorbis"]
    bit_rate: int
    """Bits a second."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Through a real encoder and decoder in memory: MP3, AAC and Opus of FFmpeg, Vorbis of libsndfile."""

    codecs: tuple[Literal["mp3", "aac", "opus", "vorbis"], ...] = ("mp3", "aac", "opus", "vorbis")
    bit_rates: tuple[int, ...] = (16_000, 24_000, 48_000)

    def draw(self, rng: np.random.Generator) -> Coding:
        """Codec and quality."""
        codec = self.codecs[rng.integers(len(self.codecs))]
        return Coding(codec, self.bit_rates[rng.integers(len(self.bit_rates))])

    def apply(self, samples: Samples, parameters: Coding) -> Samples:
        """Coded and decoded, as long as before."""
        code = _vorbis if parameters.codec == "vorbis" else _ffmpeg
        return _by_row(samples, lambda row: _fit(code(row, parameters), len(row)))


def _ffmpeg(samples: Samples, parameters: Coding) -> Samples:
    """float32 ``[n]`` through an FFmpeg encoder and back, ``[about n]``, without the encoder's delay."""
    container, codec = {
        "mp3": ("mp3", "libmp3lame"),
        "aac": ("adts", "aac"),
        "opus": ("ogg", "libopus"),
    }[parameters.codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = parameters.bit_rate
        linear = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(linear[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for block in (frame, None):
            for packet in stream.encode(block):
                out.mux(packet)
    file.seek(0)
    with av.open(file) as coded:
        to_samples = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        blocks = [
            part.to_ndarray()[0]
            for frame in (*coded.decode(audio=0), None)
            for part in to_samples.resample(frame)
        ]
    # ADTS has no field for AAC's one frame of priming; MP3 and Ogg carry theirs and the decoder drops it.
    return np.concatenate(blocks)[1024 if parameters.codec == "aac" else 0 :]


def _vorbis(samples: Samples, parameters: Coding) -> Samples:
    """Vorbis of libsndfile takes a compression level from 0 (best) to 1: the bit rates spread over it."""
    level = float(np.interp(parameters.bit_rate, (16_000, 48_000), (1.0, 0.4)))
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="VORBIS", compression_level=level)
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded


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
            return _fit(soxr.resample(stretch(row, factor), SAMPLE_RATE * factor, SAMPLE_RATE), len(row))

        return _by_row(samples, shift)


@dataclass(frozen=True, slots=True)
class Line:
    """A telephone line: its law and its band."""

    law: Encoding
    low_hz: float
    high_hz: float


@dataclass(frozen=True, slots=True)
class Telephone:
    """Band limit, 8 kHz and G.711, back at 16 kHz. Band edges vary as equipment does."""

    low_hz: tuple[float, float] = (0.0, 300.0)
    high_hz: tuple[float, float] = (3_300.0, 3_900.0)

    def draw(self, rng: np.random.Generator) -> Line:
        """Law and band edges."""
        law = Encoding.MULAW if rng.random() < 0.5 else Encoding.ALAW
        return Line(law, float(rng.uniform(*self.low_hz)), float(rng.uniform(*self.high_hz)))

    def apply(self, samples: Samples, parameters: Line) -> Samples:
        """What is heard at the other end."""
        return _by_row(samples, lambda row: _telephone(row, parameters))


def _telephone(samples: Samples, line: Line) -> Samples:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    # Slopes of an octave below and 200 Hz above: a brick wall would ring.
    rise = np.clip((hertz - line.low_hz / 2) / max(line.low_hz / 2, 1e-9), 0.0, 1.0)
    fall = np.clip((line.high_hz + 200.0 - hertz) / 200.0, 0.0, 1.0)
    narrow = soxr.resample(np.fft.irfft(spectrum * rise * fall, len(samples)), SAMPLE_RATE, 8_000)
    coded = decode(encode(narrow.astype(np.float32), line.law), line.law, 1)[:, 0]
    return _fit(soxr.resample(coded, 8_000, SAMPLE_RATE), len(samples))


G711 = Line(Encoding.MULAW, 0.0, 3_900.0)
"""The telephone condition of evaluation and calibration: µ-law at 8 kHz, no further band limit."""


def telephone(samples: Samples, line: Line = G711) -> Samples:
    """float32 ``[..., n]`` as it arrives over one fixed line."""
    return Telephone().apply(samples, line)


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


def _by_row(samples: Samples, change: Callable[[Samples], Samples]) -> Samples:
    rows = samples.reshape(-1, samples.shape[-1])
    return np.stack([change(row) for row in rows]).astype(np.float32).reshape(samples.shape)


def _fit(samples: Samples, n: int) -> Samples:
    """Cut or padded with silence to ``[n]``."""
    return np.pad(samples[:n], (0, max(0, n - len(samples)))).astype(np.float32)
