"""What a piece of evidence says: the windows around an alert, their scores, and the samples themselves.

As bytes: the length of the record (4 bytes, big-endian), the record (JSON, UTF-8), the samples (float32,
little-endian, piece after piece).
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.windows import WINDOW
from fac_stream.errors import StorageError
from fac_stream.events import Decision, Probability, SkipReason

_LENGTH = struct.Struct(">I")

Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """Immutable, and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Backend(Part):
    """What scored: with another one the last bits of a score may be others."""

    name: Literal["onnx", "torch"]
    device: Literal["cpu", "cuda"]
    threads: Annotated[int, Field(ge=1)]
    runtime: str
    """Its package and version."""
    processor: str
    """What the operating system calls it."""


class Piece(Part):
    """Samples without a gap between them."""

    start_sample: Count
    """Index at 16 kHz since the start of the call."""
    samples: Annotated[int, Field(ge=1)]


class ScoredWindow(Part):
    """One window as it was scored, and what was said of it."""

    index: Count
    """Of the window on its leg, as ``window.scored`` has it."""
    piece: Count
    """In which piece it lies."""
    start_sample: Count
    span: Annotated[int, Field(ge=1, le=WINDOW)]
    """Samples that it covers; where they are fewer than 32,000 they were repeated to fill it."""
    score: Probability | None
    skipped: SkipReason | None
    """Why ``score`` is null."""
    smoothed: Probability | None
    decision: Decision
    """On the leg, after this window."""
    quality: list[str]
    telephone: bool
    """Whether the calibration for narrow channels was the one that was used."""
    speech_s: float
    level_dbfs: float | None
    concealed: float
    """Share of it that was made up in place of lost packets."""
    run: Count
    """With how many windows it went through the network; 0 where it was not scored."""

    @property
    def start_s(self) -> float:
        """Seconds since the start of the call."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Seconds since the start of the call."""
        return (self.start_sample + self.span) / SAMPLE_RATE


class Record(Part):
    """All but the samples."""

    alert_id: str
    call_id: str
    leg: str
    rule: str
    severity: str
    summary: str
    at_s: float
    """When the alert was raised, seconds since the start of the call."""
    raised_at: AwareDatetime
    bundle: str
    bundle_version: str
    backend: Backend
    pieces: Annotated[list[Piece], Field(min_length=1)]
    windows: list[ScoredWindow]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A record and its samples."""

    record: Record
    audio: list[Samples]
    """Float32 at 16 kHz, one array a piece."""

    def window(self, window: ScoredWindow) -> Samples:
        """The samples that the scorer got, float32 ``[32000]``."""
        start = window.start_sample - self.record.pieces[window.piece].start_sample
        return np.resize(self.audio[window.piece][start : start + window.span], WINDOW)

    def timeline(self) -> Samples:
        """All of it, float32 ``[n]`` at 16 kHz from the first sample on; gaps are silence."""
        pieces = self.record.pieces
        first = min(piece.start_sample for piece in pieces)
        sound = np.zeros(max(it.start_sample + it.samples for it in pieces) - first, np.float32)
        for piece, samples in zip(pieces, self.audio, strict=True):
            sound[piece.start_sample - first :][: piece.samples] = samples
        return sound

    def encode(self) -> bytes:
        """As bytes."""
        text = self.record.model_dump_json().encode()
        samples = b"".join(piece.astype("<f4").tobytes() for piece in self.audio)
        return _LENGTH.pack(len(text)) + text + samples

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """From bytes.

        Raises:
            StorageError: they are not what ``encode`` gives.
        """
        try:
            (length,) = _LENGTH.unpack_from(content)
            text, sound = content[_LENGTH.size :][:length], content[_LENGTH.size + length :]
            record = Record.model_validate_json(text)
            samples = np.frombuffer(sound, "<f4").astype(np.float32)
        except (struct.error, ValidationError, ValueError):
            raise StorageError("its record cannot be read: another version may have written it") from None
        if len(samples) != sum(piece.samples for piece in record.pieces) or not _fit(record):
            raise StorageError("its record and its samples do not fit")
        ends = np.cumsum([piece.samples for piece in record.pieces])
        return cls(record, np.split(samples, ends[:-1]))


def _fit(record: Record) -> bool:
    """Whether every window lies in its piece."""
    for window in record.windows:
        if window.piece >= len(record.pieces):
            return False
        piece = record.pieces[window.piece]
        if not 0 <= window.start_sample - piece.start_sample <= piece.samples - window.span:
            return False
    return True
