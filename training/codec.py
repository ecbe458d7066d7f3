"""Codecs of music and of the web: what a recording went through before it was published."""

import io
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
import soundfile

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.rows import by_row, fit


@dataclass(frozen=True, slots=True)
class Quality:
    """Which codec at which bit rate."""

    codec: Literal["mp3", "aac", "opus", "vorbis"]
    bit_rate: int
    """Bits a second."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Through a real encoder and decoder in memory: MP3, AAC and Opus of FFmpeg, Vorbis of libsndfile."""

    codecs: tuple[Literal["mp3", "aac", "opus", "vorbis"], ...] = ("mp3", "aac", "opus", "vorbis")
    bit_rates: tuple[int, ...] = (16_000, 24_000, 48_000)

    def draw(self, rng: np.random.Generator) -> Quality:
        """Codec and quality."""
        codec = self.codecs[rng.integers(len(self.codecs))]
        return Quality(codec, self.bit_rates[rng.integers(len(self.bit_rates))])

    def apply(self, samples: Samples, parameters: Quality) -> Samples:
        """Coded and decoded, as long as before."""
        code = _vorbis if parameters.codec == "vorbis" else _ffmpeg
        return by_row(samples, lambda row: fit(code(row, parameters), len(row)))


def _ffmpeg(samples: Samples, parameters: Quality) -> Samples:
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
        if codec == "libopus":
            stream.options = {"compression_level": "5"}  # the highest takes half as long again
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


def _vorbis(samples: Samples, parameters: Quality) -> Samples:
    """Vorbis of libsndfile takes a compression level from 0 (best) to 1: the bit rates spread over it."""
    level = float(np.interp(parameters.bit_rate, (16_000, 48_000), (1.0, 0.4)))
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="VORBIS", compression_level=level)
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded
