"""A recording scored whole: its windows, and what they say together."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from fac_model.decision import DecisionTables
from fac_stream.audio.frames import AudioFormat, Encoding, Frame, Window, default_legs
from fac_stream.audio.media import open_media
from fac_stream.audio.speech import SpeechGate
from fac_stream.audio.windows import WindowCutter
from fac_stream.calls.decision import LegDecision, Thresholds, profile_of, worst
from fac_stream.calls.quality import UsualQuality
from fac_stream.config import Config, DecisionRule
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import ScorerError
from fac_stream.events import Decision, SkipReason
from fac_stream.scoring.base import Scorer, WindowVerdict
from fac_stream.scoring.batcher import Batcher
from fac_stream.scoring.judge import Judge

BLOCK = 16
"""Windows that are decoded before they are scored; bounds the memory of a long recording."""
CERTAIN = 1e-4
"""How near to 0 and 1 a window's score may come before it is averaged: none decides alone."""
FAKE_ABOVE = 0.5

CallLlr = Callable[[npt.NDArray[np.float64]], float]
"""The log-likelihood ratio of a call from those of its windows, as the bundle is calibrated."""


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window of the timeline; exactly one of ``score`` and ``skipped`` is None."""

    leg: str
    start_s: float
    end_s: float
    score: float | None
    skipped: SkipReason | None
    speech_s: float
    quality: tuple[str, ...] = ()
    """In what it leaves the range that the bundle was calibrated on."""


@dataclass(frozen=True, slots=True)
class LegScore:
    """What one channel says."""

    leg: str
    fakeness_score: float | None
    decision: Decision
    speech_s: float
    quality: list[str]
    """What at least half of its scored windows were flagged with."""


@dataclass(frozen=True, slots=True)
class RecordingScore:
    """What a recording says; the first three fields are the predecessor's."""

    fakeness_score: float | None
    """Probability that a voice is synthetic: the highest of all legs; None where nothing was scored."""
    prediction: Literal["fake", "real", "unknown"]
    confidence: float | None
    decision: Decision
    """The most severe of the legs' decisions at their ends."""
    duration_s: float
    speech_s: float
    """Seconds of speech, all legs together."""
    quality: list[str]
    """The flags of all legs."""
    legs: list[LegScore]
    windows: list[WindowRow]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


class Recording:
    """A sound file as windows of 16 kHz, its channels as legs; bounded memory however long it is."""

    def __init__(self, source: Path | BinaryIO, hop_s: float) -> None:
        self._source = source
        self._hop_s = hop_s
        self.legs: tuple[str, ...] = ()
        """Known once ``blocks`` is under way."""
        self.sample_rate = 0
        """Hertz; known then, too."""
        self.duration_s = 0.0
        """What was decoded so far; the whole once ``blocks`` is exhausted."""

    def blocks(self) -> Generator[list[Window]]:
        """Decode it from start to end; at least ``BLOCK`` windows at a time, but for the last.

        Raises:
            DecodeError: it cannot be read.
            AudioError: its rate, its channels, its duration or its samples are out of bounds.
        """
        with open_media(self._source) as media:
            self.legs, self.sample_rate = default_legs(media.channels), media.sample_rate
            cutter = WindowCutter(AudioFormat(media.sample_rate, Encoding.PCM_F32LE, self.legs), self._hop_s)
            ready: list[Window] = []
            position = 0
            for samples in media.blocks():
                ready += cutter.push(Frame(position, np.asarray(samples, "<f4").tobytes(), 0.0))
                position += len(samples)
                self.duration_s = cutter.received_s
                if len(ready) >= BLOCK:
                    yield ready
                    ready = []
            ready += cutter.flush()
            if ready:
                yield ready

    def thresholds(self, rule: DecisionRule, tables: DecisionTables | None) -> dict[str, Thresholds]:
        """Of each leg, once ``blocks`` is exhausted; ``tables`` are the bundle's."""
        return {leg: Thresholds.of(rule, tables, profile_of(leg, self.sample_rate)) for leg in self.legs}


def judged(recording: Recording, judge: Judge) -> list[WindowRow]:
    """Every window of a recording with its verdict, in this thread.

    Raises:
        DecodeError, AudioError, ScorerError: as ``score_recording``.
    """
    rows: list[WindowRow] = []
    for windows in recording.blocks():
        rows += rows_of(windows, judge.judge(windows).verdicts)
    return rows


def score_recording(
    source: Path | BinaryIO, scorer: Scorer, gate: SpeechGate, config: Config
) -> RecordingScore:
    """Score a sound file in this thread.

    Raises:
        DecodeError: it cannot be read.
        AudioError: its rate, its channels, its duration or its samples are out of bounds.
        ScorerError: the model failed.
    """
    recording = Recording(source, config.windows.hop_s)
    rows = judged(recording, Judge(scorer, gate, config.speech))
    legs = recording.thresholds(config.decision, scorer.tables)
    return summarise(rows, legs, recording.duration_s, scorer.calibration.call_llr)


async def score_recording_async(source: Path | BinaryIO, batcher: Batcher, config: Config) -> RecordingScore:
    """Score a sound file beside live calls, which go first. Decodes in a thread; cancelling is safe.

    Raises:
        DecodeError: it cannot be read.
        AudioError: its rate, its channels, its duration or its samples are out of bounds.
        ScorerError: the model failed on a part of it.
        RefusedError: the batcher has stopped.
    """
    recording = Recording(source, config.windows.hop_s)
    rows: list[WindowRow] = []
    async with aclosing(_in_thread(recording.blocks())) as blocks:
        async for windows in blocks:
            rows += rows_of(windows, await batcher.score(windows, live=False))
    if any(row.skipped is SkipReason.FAILED for row in rows):
        raise ScorerError("the model failed on a part of the recording: try again; the log has the reason")
    legs = recording.thresholds(config.decision, batcher.tables)
    # Of a recording of hours that takes a second.
    return await asyncio.to_thread(summarise, rows, legs, recording.duration_s, batcher.calibration.call_llr)


def summarise(
    rows: Sequence[WindowRow],
    legs: Mapping[str, Thresholds],
    duration_s: float,
    call_llr: CallLlr,
) -> RecordingScore:
    """What the windows of a recording say together. Pure; ``rows`` are in order of their ends."""
    summaries = [
        _leg_score(leg, [row for row in rows if row.leg == leg], limits, call_llr)
        for leg, limits in legs.items()
    ]
    score = max((s.fakeness_score for s in summaries if s.fakeness_score is not None), default=None)
    prediction: Literal["fake", "real", "unknown"] = "unknown"
    if score is not None:
        prediction = "fake" if score > FAKE_ABOVE else "real"
    return RecordingScore(
        fakeness_score=score,
        prediction=prediction,
        confidence=None if score is None else max(score, 1.0 - score),
        decision=worst([summary.decision for summary in summaries]),
        duration_s=duration_s,
        speech_s=sum(summary.speech_s for summary in summaries),
        quality=sorted({flag for summary in summaries for flag in summary.quality}),
        legs=summaries,
        windows=list(rows),
    )


def _leg_score(leg: str, rows: Sequence[WindowRow], limits: Thresholds, call_llr: CallLlr) -> LegScore:
    decision, quality = LegDecision(limits), UsualQuality()
    speech_s = end_s = 0.0
    for row in rows:
        decision.update(row.start_s, row.end_s, row.score, row.speech_s, row.skipped)
        # Windows overlap: each counts for the part that is new in it.
        new_s = min(row.end_s - end_s, row.end_s - row.start_s)
        speech_s += row.speech_s * new_s / (row.end_s - row.start_s)
        end_s = row.end_s
        if row.score is not None:
            quality.add(row.quality)
    return LegScore(leg, _score(rows, call_llr), decision.decision, speech_s, quality.flags)


def _score(rows: Sequence[WindowRow], call_llr: CallLlr) -> float | None:
    """The probability at the log-likelihood ratio of all windows together; None where none was scored."""
    scores = [min(max(row.score, CERTAIN), 1.0 - CERTAIN) for row in rows if row.score is not None]
    if not scores:
        return None
    llr = call_llr(np.array([math.log(score / (1.0 - score)) for score in scores]))
    return 1.0 / (1.0 + math.exp(-llr))


def rows_of(windows: Sequence[Window], verdicts: Sequence[WindowVerdict]) -> Iterator[WindowRow]:
    """What the judge said of windows, as rows of a timeline."""
    for window, verdict in zip(windows, verdicts, strict=True):
        yield WindowRow(
            window.leg,
            window.start_s,
            window.end_s,
            verdict.score,
            verdict.skipped,
            verdict.speech_s,
            verdict.quality,
        )


async def _in_thread(blocks: Generator[list[Window]]) -> AsyncGenerator[list[Window]]:
    """Advance and close a generator in one thread of its own: a decoder must not be used by two."""
    thread = DaemonThread("decoding")
    try:
        loop = asyncio.get_running_loop()
        while (block := await loop.run_in_executor(thread, next, blocks, None)) is not None:
            yield block
    finally:
        thread.submit(blocks.close)
        thread.shutdown()
