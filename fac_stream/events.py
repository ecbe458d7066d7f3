"""The events that the daemon publishes: wire format version 1.

Every message is one JSON object with ``type``, ``seq``, ``time``, ``call_id`` and ``leg``. ``seq`` rises by
one with every event the daemon publishes; a subscriber that filters, or whose scores were coalesced, sees
holes. ``snapshot`` carries the ``seq`` of the last event it includes. Scores are probabilities that the voice
is synthetic; ``None`` means that there is no score, never that the voice is human.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

WIRE_VERSION = 1

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]
Category = Literal["fraud", "health"]
Severity = Literal["info", "warning", "critical"]
Mark = Literal["acknowledged", "confirmed_fake", "false_alarm"]
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
MarkedBy = Annotated[str, Field(min_length=1, max_length=64, pattern=ONE_LINE)]
MarkNote = Annotated[str, Field(max_length=500, pattern=ONE_LINE)]


class Decision(StrEnum):
    """What is said of a leg so far."""

    UNKNOWN = "unknown"
    HUMAN = "human"
    SUSPICIOUS = "suspicious"
    SYNTHETIC = "synthetic"


class SkipReason(StrEnum):
    """Why a window has no score."""

    NO_SPEECH = "no_speech"
    LATE = "late"
    OVERLOAD = "overload"
    LOSS = "loss"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a call ended."""

    COMPLETED = "completed"
    IDLE = "idle"
    TOO_LONG = "too_long"
    PROTOCOL_ERROR = "protocol_error"
    SOURCE_LOST = "source_lost"
    SHUTDOWN = "shutdown"
    FAILED = "failed"


class Frozen(BaseModel):
    """An immutable record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Event(Frozen):
    """What all events have. ``seq`` and ``time`` are filled in by the bus on publishing."""

    seq: Annotated[int, Field(ge=0)] = 0
    """Position in the daemon's stream of events; strictly increasing for each subscriber."""
    time: datetime | None = None
    """When the event was published, UTC, RFC 3339."""
    call_id: str | None = None
    """The call it is about; null where it is about all."""
    leg: str | None = None
    """``caller``, ``agent``, ``mixed`` or the source's own name; null where it is about the call."""


class CallStarted(Event):
    """A call was accepted; its first audio has not been scored yet."""

    type: Literal["call.started"] = "call.started"
    source: str
    """Kind of source: ``microphone``, ``file``, ``websocket``."""
    legs: list[str]
    """Names of the legs, one a channel."""
    sample_rate: int
    """Hertz, as declared by the source."""
    encoding: str
    """``pcm_s16le``, ``pcm_f32le``, ``mulaw`` or ``alaw``."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """What the source said about the call."""


class WindowScored(Event):
    """One window of one leg was looked at. For a slow reader only the latest of each leg is kept."""

    type: Literal["window.scored"] = "window.scored"
    index: Annotated[int, Field(ge=0)]
    """Counts the windows of this leg from 0; a hole means that scores were coalesced."""
    start_s: Seconds
    """Where the window begins, seconds since the start of the call."""
    end_s: Seconds
    """Where it ends."""
    score: Probability | None
    """Calibrated probability that this window's voice is synthetic; null when it was not scored."""
    skipped: SkipReason | None = None
    """Why ``score`` is null."""
    smoothed: Probability | None = None
    """The leg's score over its last seconds of speech, for people; null before the first scored window."""
    speech_s: Seconds
    """Seconds of speech in this window."""
    level_dbfs: float | None = None
    """RMS level, dB relative to full scale; null for digital silence."""
    quality: list[str] = Field(default_factory=list)
    """In what a scored window leaves the range that the bundle was calibrated on, so that its score deserves
    less trust: ``quiet``, ``narrowband``, ``clipped``, ``noisy``, ``lossy``; later versions may know more."""
    decision: Decision
    """The decision on the leg after this window."""
    model: str
    """Name and short hash of the bundle that scored it."""
    latency_ms: float | None = None
    """From the arrival of the window's last sample to publishing; null where the input is not live."""


class DrivingWindow(Frozen):
    """One of the windows that moved a decision."""

    start_s: Seconds
    """Where it begins, seconds since the start of the call."""
    end_s: Seconds
    """Where it ends."""
    score: Probability
    """Its calibrated probability of synthetic speech."""
    weight: Probability
    """Its share of the evidence for a synthetic voice; the windows named need not add up to 1."""
    quality: list[str] = Field(default_factory=list)
    """Its own flags, see ``window.scored``."""


class ScorePoint(Frozen):
    """One window of the timeline of an explanation."""

    end_s: Seconds
    """Where it ends, seconds since the start of the call."""
    score: Probability | None
    """Its score; null when it was not scored."""


class Explanation(Frozen):
    """Why a leg was called synthetic: what moved the decision, and how far to trust it."""

    windows: Annotated[list[DrivingWindow], Field(max_length=10)]
    """Those with most weight since the evidence began to gather, the strongest first."""
    timeline: Annotated[list[ScorePoint], Field(max_length=60)] = Field(default_factory=list)
    """The last windows up to the decision, scored or not, oldest first."""
    quality: list[str]
    """In what the leg left the range that the bundle was calibrated on, see ``call.ended``."""
    model: str
    """Name and short hash of the bundle; the hash covers weights, settings and calibration."""
    bundle_version: str
    """The version that the bundle gives itself."""


class DecisionChanged(Event):
    """The decision on a leg changed. Never dropped."""

    type: Literal["decision.changed"] = "decision.changed"
    previous: Decision
    """What was said before."""
    decision: Decision
    """What is said now."""
    at_s: Seconds
    """Seconds since the start of the call."""
    smoothed: Probability | None
    """The smoothed score by then."""
    speech_s: Seconds
    """Seconds of speech scored so far on this leg."""
    model: str
    """Name and short hash of the bundle."""
    explanation: Explanation | None = None
    """Why, where the decision is ``suspicious`` or ``synthetic``; else null."""


class AlertRaised(Event):
    """A rule fired. Never dropped. A health alert is about the daemon: it has no call and no leg."""

    type: Literal["alert.raised"] = "alert.raised"
    alert_id: str
    """Unique; the same in the event that resolves it."""
    category: Category = "fraud"
    """``fraud``: about a voice; ``health``: about the daemon itself."""
    rule: str
    """Name of the rule."""
    severity: Severity
    """How urgent it is."""
    summary: str
    """One sentence for people."""
    at_s: Seconds
    """Seconds since the start of the call; of a health alert, since the daemon's."""
    smoothed: Probability | None
    """The leg's smoothed score; null in a health alert."""
    speech_s: Seconds
    """Seconds of speech scored so far on this leg; 0 in a health alert."""
    model: str
    """Name and short hash of the bundle."""
    explanation: Explanation | None = None
    """Why; null in a health alert and in lists of calls: ``GET /api/alerts/{id}`` has it."""


class AlertResolved(Event):
    """The condition that raised an alert is over, or its call is. Never dropped."""

    type: Literal["alert.resolved"] = "alert.resolved"
    alert_id: str
    """The alert that is over."""
    category: Category = "fraud"
    """As of the alert."""
    severity: Severity = "critical"
    """As of the alert."""
    rule: str
    """Name of the rule."""
    reason: Literal["cleared", "call_ended", "restarted"]
    """The decision turned human, or what was wrong is right again; the call ended; the daemon that had raised
    a health alert ended."""
    at_s: Seconds
    """Seconds since the start of the call; of a health alert, since the daemon's."""


class AlertMarked(Event):
    """Somebody acknowledged an alert, or said what it was. Never dropped."""

    type: Literal["alert.marked"] = "alert.marked"
    alert_id: Annotated[str, Field(max_length=64)]
    """The alert it is about."""
    mark: Mark
    """``acknowledged``: seen; ``confirmed_fake``, ``false_alarm``: the verdict, of which the last counts."""
    by: MarkedBy
    """Who says so, as they named themselves."""
    note: MarkNote = ""
    """Why, in their words."""


class HealthChanged(Event):
    """Something that brings audio stopped working, or works again. Never dropped."""

    type: Literal["health.changed"] = "health.changed"
    status: Literal["no_media", "ok"]
    """``no_media``: connected, but sends nothing."""
    detail: str
    """What is the matter, in words."""


class LegSummary(Frozen):
    """Where one leg stands."""

    leg: str
    """Its name."""
    decision: Decision
    """What is said of it now."""
    worst_decision: Decision
    """The most severe decision this leg reached."""
    smoothed: Probability | None
    """Smoothed score."""
    last_score: Probability | None
    """Score of the last scored window."""
    peak_score: Probability | None
    """Highest score of a window."""
    windows: int
    """Windows looked at."""
    scored: int
    """Windows that had a score."""
    speech_s: Seconds
    """Seconds of speech scored so far."""
    level_dbfs: float | None
    """RMS level of the last window; null for digital silence."""
    quality: list[str] = Field(default_factory=list)
    """What at least half of the scored windows were flagged with, see ``window.scored``."""


class CallEnded(Event):
    """A call is over. Never dropped."""

    type: Literal["call.ended"] = "call.ended"
    reason: EndReason
    """Why it ended."""
    detail: str | None = None
    """The error in words, where there was one."""
    duration_s: Seconds
    """Seconds of the stream so far, gaps included."""
    lost_s: Seconds = 0.0
    """Seconds that no window covers: gaps in the audio, and pieces between gaps too short to score."""
    legs: list[LegSummary]
    """Where each leg stood at the end."""


class CallDeleted(Event):
    """All that is kept of a call goes, also its alerts and evidence: somebody asked for it. Never dropped."""

    type: Literal["call.deleted"] = "call.deleted"
    by: Annotated[str, Field(max_length=64)] = ""
    """Who asked: the system's user of a command, or ``API`` and the address that asked it."""


class CallSummary(Frozen):
    """One call as ``GET /api/calls`` and the snapshot show it."""

    call_id: str
    """Its id."""
    source: str
    """Kind of source: ``microphone``, ``file``, ``websocket``."""
    started_at: datetime
    """When it was accepted."""
    ended_at: datetime | None
    """When it ended; null while it goes on."""
    end_reason: EndReason | None
    """Why it ended; null while it goes on."""
    duration_s: Seconds
    """Seconds of the stream so far, gaps included."""
    sample_rate: int
    """Hertz, as declared by the source."""
    encoding: str
    """How its samples were encoded."""
    metadata: dict[str, Any]
    """What the source said about the call."""
    legs: list[LegSummary]
    """Where each leg stands."""
    alerts: list[AlertRaised]
    """Alerts raised and not yet resolved."""
    resolved_alerts: list[AlertRaised] = Field(default_factory=list)
    """Alerts that were raised and are over, the latest of them."""


class TimelinePoint(Frozen):
    """One window of a leg's history."""

    end_s: Seconds
    score: Probability | None
    smoothed: Probability | None
    speech_s: Seconds
    decision: Decision


class CallDetail(CallSummary):
    """``GET /api/calls/{id}``: the summary with each leg's timeline, thinned evenly where it grew long."""

    timeline: dict[str, list[TimelinePoint]]


class Snapshot(Event):
    """The daemon's state at ``seq``; always the first message, and sent again on request."""

    type: Literal["snapshot"] = "snapshot"
    version: Literal[1] = 1
    """Version of this wire format."""
    model: str
    """Name and short hash of the bundle that scores."""
    device: str
    """``cpu`` or ``cuda``."""
    hop_s: float
    """Seconds between windows."""
    raise_at: Probability
    """Score above which a window is evidence for synthetic: while it lasts, a leg is on its way there."""
    suspect_at: Probability
    """The same as ``raise_at``: half of the evidence that makes a leg synthetic makes it suspicious."""
    clear_at: Probability
    """Score below which a window is evidence for human."""
    calls: list[CallSummary]
    """Calls that are going on."""


AnyEvent = Annotated[
    CallStarted
    | WindowScored
    | DecisionChanged
    | AlertRaised
    | AlertResolved
    | AlertMarked
    | HealthChanged
    | CallEnded
    | CallDeleted
    | Snapshot,
    Field(discriminator="type"),
]
EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
EVENT_TYPES: tuple[str, ...] = tuple(
    kind.model_fields["type"].default for kind in get_args(get_args(AnyEvent)[0])
)


def encode(event: Event) -> str:
    """The event as one line of JSON."""
    return event.model_dump_json()


def decode(text: str | bytes) -> AnyEvent:
    """Parse one event.

    Raises:
        pydantic.ValidationError: the text is no event of wire version 1.
    """
    return EVENTS.validate_json(text)
