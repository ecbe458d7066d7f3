"""Conditions: fixed channels under which networks are measured and calibrated, each a function of samples.

Float32 ``[..., n]`` at 16 kHz to the same shape; nothing in them is drawn, so figures can be repeated.
"""

from collections.abc import Callable

import numpy as np
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.resample import Resampler
from training.loss import Loss
from training.room import OFFICE, Room
from training.rows import by_row, fit, rms
from training.telephony import OPUS, Coding, Line, SpeechCodec, Telephone

__all__ = ["CONDITIONS", "G711", "by_row", "fit", "resampled", "telephone"]

G711 = Line(Coding("mulaw", 64_000), 0.0, 3_900.0)
"""The telephone condition of evaluation and calibration: µ-law at 8 kHz, no further band limit."""
LOSSY_OPUS = Coding("opus", 12_000, Loss(frame_ms=20, share=0.05, burst=1.0 / 0.95, seed=1))
"""An internet call on a poor line."""


def telephone(samples: Samples, line: Line = G711) -> Samples:
    """Float32 ``[..., n]`` as it arrives over one fixed line."""
    return Telephone().apply(samples, line)


def resampled(samples: Samples) -> Samples:
    """Float32 ``[..., n]`` as it arrives from a device or file at 48 kHz: up, and down as the daemon does."""
    return by_row(samples, _through_48k)


def _through_48k(samples: Samples) -> Samples:
    resampler = Resampler(48_000, 1)
    wide = soxr.resample(samples, SAMPLE_RATE, 48_000).astype(np.float32)
    return fit(np.concatenate((resampler.push(wide[:, None]), resampler.flush()))[:, 0], len(samples))


def _opus_loss(samples: Samples) -> Samples:
    return SpeechCodec(OPUS).apply(samples, LOSSY_OPUS)


def _noise_10db(samples: Samples) -> Samples:
    """Pink noise, the same for all, at 10 dB below each row."""
    noise = pink(samples.shape[-1])
    level = rms(samples) / rms(noise) * 10.0 ** (-10.0 / 20.0)
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


def _room(samples: Samples) -> Samples:
    return Room().apply(samples, OFFICE)


def _same(samples: Samples) -> Samples:
    return samples


CONDITIONS: dict[str, Callable[[Samples], Samples]] = {
    "wideband": _same,
    "resampled": resampled,
    "g711": telephone,
    "opus_loss": _opus_loss,
    "noise_10db": _noise_10db,
    "room": _room,
}
"""At 16 kHz as it is; from 48 kHz, as sound cards, browsers and most files are; over a telephone line;
an internet call at 12 kbit/s that loses 5 % of its packets; in noise; from across a table."""
