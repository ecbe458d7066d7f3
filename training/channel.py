"""Channels: real codecs in memory, and a telephone line. Both classes must pass them equally often."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
import soundfile
import soxr

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import SAMPLE_RATE, Encoding, Samples
from fac_stream.audio.resample import Resampler


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
        return by_row(samples, lambda row: fit(code(row, parameters), len(row)))


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
        return by_row(samples, lambda row: _telephone(row, parameters))


def _telephone(samples: Samples, line: Line) -> Samples:
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    # Slopes of an octave below and 200 Hz above: a brick wall would ring.
    rise = np.clip((hertz - line.low_hz / 2) / max(line.low_hz / 2, 1e-9), 0.0, 1.0)
    fall = np.clip((line.high_hz + 200.0 - hertz) / 200.0, 0.0, 1.0)
    narrow = soxr.resample(np.fft.irfft(spectrum * rise * fall, len(samples)), SAMPLE_RATE, 8_000)
    coded = decode(encode(narrow.astype(np.float32), line.law), line.law, 1)[:, 0]
    return fit(soxr.resample(coded, 8_000, SAMPLE_RATE), len(samples))


G711 = Line(Encoding.MULAW, 0.0, 3_900.0)
"""The telephone condition of evaluation and calibration: µ-law at 8 kHz, no further band limit."""


def telephone(samples: Samples, line: Line = G711) -> Samples:
    """float32 ``[..., n]`` as it arrives over one fixed line."""
    return Telephone().apply(samples, line)


def resampled(samples: Samples) -> Samples:
    """float32 ``[..., n]`` as it arrives from a device or file at 48 kHz: up, and down as the daemon does."""
    return by_row(samples, _through_48k)


def _through_48k(samples: Samples) -> Samples:
    resampler = Resampler(48_000, 1)
    wide = soxr.resample(samples, SAMPLE_RATE, 48_000).astype(np.float32)
    return fit(np.concatenate((resampler.push(wide[:, None]), resampler.flush()))[:, 0], len(samples))


def by_row(samples: Samples, change: Callable[[Samples], Samples]) -> Samples:
    """Change each row of float32 ``[..., n]`` for itself."""
    rows = samples.reshape(-1, samples.shape[-1])
    return np.stack([change(row) for row in rows]).astype(np.float32).reshape(samples.shape)


def fit(samples: Samples, n: int) -> Samples:
    """Cut or padded with silence to ``[n]``."""
    return np.pad(samples[:n], (0, max(0, n - len(samples)))).astype(np.float32)
