"""What sources yield and windows are cut from. Time is a sample index; a gap is visible arithmetic."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Hertz; the rate at which every window is scored."""

Samples = npt.NDArray[np.float32]


def default_legs(channels: int) -> tuple[str, ...]:
    """Names of the legs where nobody gave any, one a channel."""
    if channels == 1:
        return ("mixed",)
    return ("caller", "agent") if channels == 2 else tuple(f"ch{n}" for n in range(1, channels + 1))


class Encoding(StrEnum):
    """How samples stand in bytes; PCM is little-endian."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"

    @property
    def width(self) -> int:
        """Bytes a sample."""
        return {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}[self.value]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How one stream of frames is to be read; ``legs`` has one name a channel, channels are interleaved."""

    sample_rate: int
    """Hertz."""
    encoding: Encoding
    legs: tuple[str, ...]

    @property
    def frame_width(self) -> int:
        """Bytes of one sample of all channels."""
        return self.encoding.width * len(self.legs)


@dataclass(frozen=True, slots=True)
class Frame:
    """A block of encoded samples of all channels of one stream."""

    start_sample: int
    """Index of the first sample since the start of the stream, at the stream's own rate."""
    data: bytes
    received_at: float
    """``time.monotonic()`` when the last sample arrived."""
    leg: str | None = None
    """Whose stream it is, where each leg has a stream of its own; None where all legs are interleaved."""
    concealed: bool = False
    """Made up in place of what was lost on the way."""


@dataclass(frozen=True, slots=True)
class Window:
    """Two seconds of one leg at 16 kHz, without a gap: the model's input."""

    leg: str
    index: int
    """Counts the windows of this leg from 0."""
    start_sample: int
    """Index at 16 kHz since the start of the stream."""
    samples: Samples
    """float32 ``[32000]``, full scale at ±1."""
    received_at: float
    """``time.monotonic()`` when the last sample arrived."""
    span: int = 2 * SAMPLE_RATE
    """Samples of the stream it covers: fewer than 32,000 where a short segment was repeated to fill it."""
    concealed: float = 0.0
    """Share of it that was made up in place of what was lost."""

    @property
    def start_s(self) -> float:
        """Seconds since the start of the stream."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Seconds since the start of the stream."""
        return (self.start_sample + self.span) / SAMPLE_RATE
