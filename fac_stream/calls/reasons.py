"""Why a recording was called synthetic: its decision, told again, and the windows worth a closer look."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fac_stream.audio.frames import Window
from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.decision import SEVERITY, LegDecision, Thresholds, worst
from fac_stream.calls.explanation import MOST_POINTS, Drivers, Span
from fac_stream.calls.quality import UsualQuality
from fac_stream.calls.recording import Recording, WindowRow, judged
from fac_stream.config import Config
from fac_stream.errors import AudioError
from fac_stream.events import Decision, Explanation
from fac_stream.scoring.base import Scorer
from fac_stream.scoring.judge import Judge


@dataclass(frozen=True, slots=True)
class Reasons:
    """What was said of a leg of a recording, and why."""

    leg: str
    decision: Decision
    """The most severe it came to."""
    at_s: float | None
    """When it was first called synthetic; None where it never was."""
    explanation: Explanation
    """Of that moment; else of what had gathered in the end."""
    rows: list[WindowRow]
    """Its whole timeline."""

    @property
    def scored(self) -> dict[Span, float]:
        """The windows that have a score, and that."""
        return {(row.start_s, row.end_s): row.score for row in self.rows if row.score is not None}


def explain_recording(
    source: Path, scorer: Scorer, gate: SpeechGate, config: Config, leg: str | None = None
) -> Reasons:
    """Score a recording and explain a leg of it: this one, else the one most likely synthetic.

    Raises:
        DecodeError: it cannot be read.
        AudioError: it cannot be used, or has no such leg.
        ScorerError: the model failed.
    """
    recording = Recording(source, config.windows.hop_s)
    rows = judged(recording, Judge(scorer, gate, config.speech))
    limits = recording.thresholds(config.decision, scorer.tables)
    if leg is not None and leg not in limits:
        raise AudioError(f"{source} has no leg {leg!r}: it has {', '.join(limits)}")
    told = [
        explain_leg([row for row in rows if row.leg == name], name, limits[name], scorer)
        for name in limits
        if leg in (None, name)
    ]
    return max(told, key=_severity)


def explain_leg(rows: list[WindowRow], leg: str, limits: Thresholds, scorer: Scorer) -> Reasons:
    """Decide one leg again, as a live call would have been; its windows in order."""
    decision, quality = LegDecision(limits), UsualQuality()
    drivers = Drivers(limits.alarm_reference, limits.most)
    reached = Decision.UNKNOWN
    explanation, at_s = None, None
    for count, row in enumerate(rows, 1):
        now = decision.update(row.start_s, row.end_s, row.score, row.speech_s, row.skipped)
        drivers.decided(now, decision.lapses)
        drivers.add(row.start_s, row.end_s, row.score, row.speech_s, row.quality)
        reached = worst([reached, now])
        if row.score is not None:
            quality.add(row.quality)
        if now is Decision.SYNTHETIC and at_s is None:
            explanation, at_s = _told(drivers, rows[:count], quality, scorer), row.end_s
    if explanation is None:
        explanation = _told(drivers, rows, quality, scorer)
    return Reasons(leg, reached, at_s, explanation, rows)


def windows_at(source: Path, hop_s: float, leg: str, starts_s: Collection[float]) -> dict[float, Window]:
    """The windows of a recording that begin there, by their start; decodes it once more.

    Raises:
        DecodeError: it cannot be read.
        AudioError: it cannot be used.
    """
    return {
        window.start_s: window
        for windows in Recording(source, hop_s).blocks()
        for window in windows
        if window.leg == leg and window.start_s in starts_s
    }


def _told(drivers: Drivers, rows: Sequence[WindowRow], quality: UsualQuality, scorer: Scorer) -> Explanation:
    timeline = [(row.end_s, row.score) for row in rows[-MOST_POINTS:]]
    return drivers.explain(timeline, quality.flags, scorer.model, scorer.version)


def _severity(reasons: Reasons) -> tuple[int, float]:
    scores = [row.score for row in reasons.rows if row.score is not None]
    return SEVERITY.index(reasons.decision), max(scores, default=-1.0)
