"""One call, from its first frame to its last event."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from fac_model.decision import DecisionTables
from fac_stream.audio.frames import AudioFormat, Window
from fac_stream.audio.legs import CallCutter
from fac_stream.bus import Bus
from fac_stream.calls.decision import LegDecision, Thresholds, profile_of, worst
from fac_stream.calls.explanation import MOST_POINTS, Drivers
from fac_stream.calls.quality import UsualQuality
from fac_stream.calls.timeline import Timeline
from fac_stream.config import Config
from fac_stream.errors import AudioError, ProtocolError, SourceError
from fac_stream.events import (
    AlertRaised,
    CallDetail,
    CallEnded,
    CallStarted,
    CallSummary,
    Decision,
    DecisionChanged,
    EndReason,
    Explanation,
    LegSummary,
    SkipReason,
    TimelinePoint,
    WindowScored,
)
from fac_stream.scoring.base import Scorer, WindowVerdict
from fac_stream.scoring.batcher import Batcher
from fac_stream.sources.base import Source

log = structlog.get_logger(__name__)


MAX_RESOLVED_ALERTS = 20


class Leg:
    """One speaker's channel: its decision, counts and history."""

    def __init__(self, name: str, config: Config, thresholds: Thresholds) -> None:
        self.name = name
        self.decision = LegDecision(thresholds)
        self.timeline = Timeline(config.history.max_points)
        self._worst = Decision.UNKNOWN
        self._last: float | None = None
        self._peak: float | None = None
        self._level_dbfs: float | None = None
        self._quality = UsualQuality()
        self._drivers = Drivers(thresholds.alarm_reference, thresholds.most)
        self._windows = 0
        self._scored = 0

    def update(self, window: Window, verdict: WindowVerdict) -> None:
        """Take in one window's verdict."""
        decision = self.decision.update(
            window.start_s, window.end_s, verdict.score, verdict.speech_s, verdict.skipped
        )
        self._drivers.decided(decision, self.decision.lapses)
        self._drivers.add(window.start_s, window.end_s, verdict.score, verdict.speech_s, verdict.quality)
        self._worst = worst([self._worst, decision])
        self._windows += 1
        self._level_dbfs = verdict.level_dbfs
        if verdict.score is not None:
            self._scored += 1
            self._quality.add(verdict.quality)
            self._last = verdict.score
            self._peak = max(verdict.score, self._peak or 0.0)
        self.timeline.add(
            TimelinePoint(
                end_s=window.end_s,
                score=verdict.score,
                smoothed=self.decision.smoothed,
                speech_s=verdict.speech_s,
                decision=decision,
            )
        )

    def explain(self, model: str, bundle_version: str) -> Explanation:
        """Why this leg is suspicious or called synthetic."""
        timeline = [(point.end_s, point.score) for point in self.timeline.points(MOST_POINTS)]
        return self._drivers.explain(timeline, self._quality.flags, model, bundle_version)

    def summary(self) -> LegSummary:
        """Where this leg stands."""
        return LegSummary(
            leg=self.name,
            decision=self.decision.decision,
            worst_decision=self._worst,
            smoothed=self.decision.smoothed,
            last_score=self._last,
            peak_score=self._peak,
            windows=self._windows,
            scored=self._scored,
            speech_s=self.decision.speech_s,
            level_dbfs=self._level_dbfs,
            quality=self._quality.flags,
        )


@dataclass(slots=True)
class Call:
    """The state of one call, while it goes on and after."""

    config: Config
    tables: DecisionTables | None
    call_id: str
    source: str
    format: AudioFormat
    metadata: dict[str, Any]
    legs: dict[str, Leg]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    duration_s: float = 0.0
    lost_s: float = 0.0
    alerts: dict[str, AlertRaised] = field(default_factory=dict)
    """Alerts that are firing, by alert id."""
    resolved_alerts: deque[AlertRaised] = field(default_factory=lambda: deque(maxlen=MAX_RESOLVED_ALERTS))

    @classmethod
    def of(cls, source: Source, config: Config, tables: DecisionTables | None) -> "Call":
        """The call that a source is about to make; ``tables`` are of the bundle that will score it."""
        call = cls(
            config=config,
            tables=tables,
            call_id=source.call_id,
            source=source.kind,
            format=source.format,
            metadata=source.metadata,
            legs={},
        )
        for name in source.format.legs:
            call.leg(name)
        return call

    def leg(self, name: str) -> Leg:
        """The leg of this name; one that joins while the call goes on begins here."""
        if name not in self.legs:
            profile = profile_of(name, self.format.sample_rate)
            thresholds = Thresholds.of(self.config.decision, self.tables, profile)
            self.legs[name] = Leg(name, self.config, thresholds)
        return self.legs[name]

    def summary(self) -> CallSummary:
        """The call as lists show it."""
        return CallSummary(**self._fields())

    def detail(self) -> CallDetail:
        """The call with every leg's timeline."""
        timeline = {name: leg.timeline.points() for name, leg in self.legs.items()}
        return CallDetail(**self._fields(), timeline=timeline)

    def _fields(self) -> dict[str, Any]:
        return {
            "call_id": self.call_id,
            "source": self.source,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "end_reason": self.end_reason,
            "duration_s": self.duration_s,
            "sample_rate": self.format.sample_rate,
            "encoding": self.format.encoding.value,
            "metadata": self.metadata,
            "legs": [leg.summary() for leg in self.legs.values()],
            "alerts": list(self.alerts.values()),
            "resolved_alerts": list(self.resolved_alerts),
        }


_LOST = WindowVerdict(None, SkipReason.LOSS, 0.0, None)


Tap = Callable[[str, Window, WindowVerdict], None]


class TooLongError(Exception):
    """The call reached its maximum duration."""


class CallRunner:
    """Moves frames of calls to windows, scores, decisions and events."""

    def __init__(
        self, config: Config, batcher: Batcher, bus: Bus, scorer: Scorer, tap: Tap | None = None
    ) -> None:
        """``tap`` gets every window with its verdict, before that is published."""
        self._config = config
        self._tap = tap
        self._batcher = batcher
        self._bus = bus
        self._model = scorer.model
        self._bundle_version = scorer.version

    async def run(self, call: Call, source: Source) -> CallEnded:
        """Consume the source until it ends; publish everything, the end last.

        The one place where a call's errors are caught: they end this call and no other. When cancelled, the
        end is still published, with reason ``shutdown``.
        """
        with structlog.contextvars.bound_contextvars(call_id=call.call_id):
            self._bus.publish(_started(call))
            log.info("call started", source=call.source, legs=list(call.legs))
            reason, detail = EndReason.SHUTDOWN, None
            try:
                await self._score(call, source)
                reason = EndReason.COMPLETED
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - protects all other calls from this one
                reason, detail = _explain(error)
            finally:
                ended = self._end(call, reason, detail)
            return ended

    async def _score(self, call: Call, source: Source) -> None:
        cutter = CallCutter(call.format, self._config.windows.hop_s)
        try:
            await self._follow(call, source, cutter)
        except (SourceError, TimeoutError, TooLongError):
            await self._finish(call, cutter)
            raise
        await self._finish(call, cutter)

    async def _follow(self, call: Call, source: Source, cutter: CallCutter) -> None:
        async with aclosing(source.frames()) as frames:
            async for frame in frames:
                windows = cutter.push(frame)
                call.duration_s, call.lost_s = cutter.end_s, cutter.lost_s
                if windows:
                    await self._judge(call, windows, live=source.live)
                if call.duration_s > self._config.ingest.max_duration_s:
                    raise TooLongError

    async def _finish(self, call: Call, cutter: CallCutter) -> None:
        windows = cutter.flush()
        call.lost_s = cutter.lost_s
        await self._judge(call, windows, live=False)

    async def _judge(self, call: Call, windows: Sequence[Window], *, live: bool) -> None:
        most = self._config.ingest.max_concealed
        heard = [window for window in windows if window.concealed <= most]
        verdicts = iter(await self._batcher.score(heard, live=live))
        for window in windows:
            verdict = next(verdicts) if window.concealed <= most else _LOST
            if self._tap:
                self._tap(call.call_id, window, verdict)
            for event in self._apply(call, window, verdict, live=live):
                self._bus.publish(event)
            if not live:
                # A recording's windows come by the hundred: let subscribers read while they are published.
                await asyncio.sleep(0)

    def _apply(
        self, call: Call, window: Window, verdict: WindowVerdict, *, live: bool
    ) -> Iterable[WindowScored | DecisionChanged]:
        leg = call.leg(window.leg)
        previous = leg.decision.decision
        leg.update(window, verdict)
        decision, smoothed = leg.decision.decision, leg.decision.smoothed
        yield WindowScored(
            call_id=call.call_id,
            leg=leg.name,
            index=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            score=verdict.score,
            skipped=verdict.skipped,
            smoothed=smoothed,
            speech_s=verdict.speech_s,
            level_dbfs=verdict.level_dbfs,
            quality=list(verdict.quality),
            decision=decision,
            model=self._model,
            latency_ms=round((time.monotonic() - window.received_at) * 1000, 1) if live else None,
        )
        if decision is not previous:
            log.info("decision changed", leg=leg.name, previous=previous.value, decision=decision.value)
            yield DecisionChanged(
                call_id=call.call_id,
                leg=leg.name,
                previous=previous,
                decision=decision,
                at_s=window.end_s,
                smoothed=smoothed,
                speech_s=leg.decision.speech_s,
                model=self._model,
                explanation=leg.explain(self._model, self._bundle_version)
                if decision in (Decision.SUSPICIOUS, Decision.SYNTHETIC)
                else None,
            )

    def _end(self, call: Call, reason: EndReason, detail: str | None) -> CallEnded:
        call.end_reason, call.ended_at = reason, datetime.now(UTC)
        log.info("call ended", reason=reason.value, detail=detail, duration_s=round(call.duration_s, 2))
        ended = CallEnded(
            call_id=call.call_id,
            reason=reason,
            detail=detail,
            duration_s=call.duration_s,
            lost_s=call.lost_s,
            legs=[leg.summary() for leg in call.legs.values()],
        )
        self._bus.publish(ended)
        return ended


def _started(call: Call) -> CallStarted:
    return CallStarted(
        call_id=call.call_id,
        source=call.source,
        legs=list(call.legs),
        sample_rate=call.format.sample_rate,
        encoding=call.format.encoding.value,
        metadata=call.metadata,
    )


def _explain(error: Exception) -> tuple[EndReason, str | None]:
    match error:
        case TooLongError():
            return EndReason.TOO_LONG, "the call reached ingest.max_duration_s"
        case TimeoutError():
            return EndReason.IDLE, "no audio arrived for ingest.idle_timeout_s"
        case ProtocolError() | AudioError():
            return EndReason.PROTOCOL_ERROR, str(error)
        case SourceError():
            return EndReason.SOURCE_LOST, str(error)
        case _:
            log.error("call failed", exc_info=error)
            return EndReason.FAILED, "internal error; the daemon's log has the details"
