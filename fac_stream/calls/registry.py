"""All calls: those going on, and the last ones that ended."""

from collections import deque
from datetime import UTC, datetime

from fac_stream.bus import Bus
from fac_stream.calls.call import Call, CallRunner, Tap
from fac_stream.calls.decision import Thresholds
from fac_stream.config import Config
from fac_stream.errors import ConflictError, RefusedError
from fac_stream.events import (
    AlertRaised,
    AlertResolved,
    CallDeleted,
    CallDetail,
    CallEnded,
    CallSummary,
    Event,
    Snapshot,
)
from fac_stream.scoring.base import Scorer
from fac_stream.scoring.batcher import Batcher
from fac_stream.sources.base import Source


class Calls:
    """Admits calls up to a limit, runs them, and answers for them afterwards."""

    def __init__(
        self, config: Config, bus: Bus, batcher: Batcher, scorer: Scorer, tap: Tap | None = None
    ) -> None:
        self._config = config
        self._bus = bus
        self._scorer = scorer
        # The references, which are all that is asked of it, are the same in every profile.
        self._scale = Thresholds.of(config.decision, scorer.tables, "wideband")
        self._runner = CallRunner(config, batcher, bus, scorer, tap)
        self._active: dict[str, Call] = {}
        self._ended: deque[Call] = deque(maxlen=config.history.max_calls)
        self._closing = False
        bus.listen(self._on_event)

    def __len__(self) -> int:
        return len(self._active)

    def admit(self, source: Source) -> Call:
        """Take a place for a call.

        Raises:
            RefusedError: ``ingest.max_calls`` calls are going on, or the daemon is stopping.
            ConflictError: a call with this id is going on.
        """
        if self._closing:
            raise RefusedError("the daemon is stopping")
        if len(self._active) >= self._config.ingest.max_calls:
            raise RefusedError(
                f"{len(self._active)} calls are going on, the most that ingest.max_calls allows"
            )
        if source.call_id in self._active:
            raise ConflictError(f"a call {source.call_id!r} is going on")
        call = self._active[source.call_id] = Call.of(source, self._config, self._scorer.tables)
        return call

    async def run(self, call: Call, source: Source) -> CallEnded:
        """Run an admitted call to its end; gives its place back whatever happens."""
        try:
            return await self._runner.run(call, source)
        finally:
            self.release(call)

    def release(self, call: Call) -> None:
        """Give back the place of an admitted call; called by ``run``, and by who admits and cannot run."""
        if self._active.get(call.call_id) is call:
            del self._active[call.call_id]
            if call.ended_at is not None:
                self._ended.appendleft(call)

    def is_active(self, call_id: str) -> bool:
        """Whether a call with this id is going on."""
        return call_id in self._active

    def close(self) -> None:
        """Admit no more calls."""
        self._closing = True

    def summaries(self) -> list[CallSummary]:
        """Calls that are going on, oldest first, then those that ended, newest first."""
        return [call.summary() for call in (*self._active.values(), *self._ended)]

    def detail(self, call_id: str) -> CallDetail | None:
        """One call with its timelines; the latest that bore this id."""
        call = self._active.get(call_id) or next((c for c in self._ended if c.call_id == call_id), None)
        return call.detail() if call else None

    def snapshot(self) -> Snapshot:
        """The state after the last published event."""
        return Snapshot(
            seq=self._bus.seq,
            time=datetime.now(UTC),
            model=self._scorer.model,
            device=self._scorer.device,
            hop_s=self._config.windows.hop_s,
            raise_at=self._scale.rises_above,
            suspect_at=self._scale.rises_above,
            clear_at=self._scale.falls_below,
            calls=[call.summary() for call in self._active.values()],
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, CallDeleted):
            kept = [call for call in self._ended if call.call_id != event.call_id]
            self._ended = deque(kept, maxlen=self._ended.maxlen)
        if not isinstance(event, AlertRaised | AlertResolved):
            return
        # Alerts are published once they are on disk: their call may have ended by then.
        for call in (*self._active.values(), *self._ended):
            if call.call_id != event.call_id:
                continue
            if isinstance(event, AlertRaised):
                # Why it was raised is asked for where somebody looks at it; lists and snapshots stay small.
                call.alerts[event.alert_id] = event.model_copy(update={"explanation": None})
                return
            if event.alert_id in call.alerts:
                call.resolved_alerts.append(call.alerts.pop(event.alert_id))
                return
