"""Conditions: fixed channels under which networks are measured and calibrated, each a function of samples.

Float32 ``[..., n]`` at 16 kHz to the same shape; nothing in them is drawn, so figures can be repeated.
"""

from collections.abc import Callable

from fac_stream.audio.frames import Samples
from training.noise import mixed, pink
from training.packet_loss import Loss
from training.rate import Detour, Resample
from training.room import OFFICE, Room
from training.telephony import OPUS, Coding, Line, SpeechCodec, Telephone

G711 = Line(Coding("mulaw", 64_000), 0.0, 3_900.0)
"""The telephone condition of evaluation and calibration: µ-law at 8 kHz, no further band limit."""
LOSSY_OPUS = Coding("opus", 12_000, Loss(frame_ms=20, share=0.05, burst=1.0 / 0.95, seed=1))
"""An internet call on a poor line."""


def telephone(samples: Samples, line: Line = G711) -> Samples:
    """Float32 ``[..., n]`` as it arrives over one fixed line."""
    return Telephone().apply(samples, line)


def resampled(samples: Samples) -> Samples:
    """Float32 ``[..., n]`` as it arrives from a device or file at 48 kHz: up, and down as the daemon does."""
    return Resample().apply(samples, Detour(48_000, "HQ"))


def _opus_loss(samples: Samples) -> Samples:
    return SpeechCodec(OPUS).apply(samples, LOSSY_OPUS)


def _noise_10db(samples: Samples) -> Samples:
    return mixed(samples, pink(samples.shape[-1]), 10.0)


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
