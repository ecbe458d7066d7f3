"""From the scorer's samples to files of evidence; belongs to the event loop.

::

    call ──hear──► ring of each leg                            memory: 0.8 MB a leg at 8 s
                     │ decision turns suspicious or synthetic
                     ▼
                   take: the ring so far, then 2 s more ◄── alert.raised says whose it is
                     │
                     └──► queue ──► thread: record, encrypt, write     at most MAX_WAITING wait

An alert is published when it is on disk, and a recording may be seconds further by then: so the audio is
taken when the decision changes. A take that no alert claims is let go.

Nothing here keeps a call or an alert waiting. What cannot be written is lost, counted and told.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import structlog

from fac_stream.audio.frames import Window
from fac_stream.bus import Bus
from fac_stream.config import Config
from fac_stream.config_storage import Evidence
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import FacError
from fac_stream.events import (
    AlertRaised,
    AnyEvent,
    CallDeleted,
    CallEnded,
    Decision,
    DecisionChanged,
    WindowScored,
)
from fac_stream.evidence.backend import backend_of
from fac_stream.evidence.clerk import AFTER_S, Clerk
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.ring import Heard, Ring
from fac_stream.scoring.base import Scorer, WindowVerdict
from fac_stream.storage.audit import AuditLog
from fac_stream.storage.places import audit_file

log = structlog.get_logger(__name__)

PATIENCE_S = 15.0
"""How long a take waits for its alert, and an alert for its 2 s, where no audio comes any more."""
TICK_S = 1.0
MAX_LEGS = 1024
"""Legs that are listened to at a time; the audio of further ones is not kept."""
MAX_TAKES = 64
MAX_WAITING = 64
"""Files that may wait for the disk; the next ones are lost."""
WRITE_S = 10.0
"""After which a disk does not answer."""
SWEEP_S = 3600.0
RETRY_S = 60.0
"""How soon it is looked again whether a key or disk that was in trouble is well."""

Tap = Callable[[str, Window, WindowVerdict], None]
_Leg = tuple[str, str]
_Kind = Literal["check", "keep", "remove"]


@dataclass(slots=True, eq=False)
class _Take:
    """Audio that an alert may be about."""

    leg: _Leg
    at_s: float
    heard: list[Heard]
    since: float
    """``time.monotonic()``."""
    alerts: list[AlertRaised] = field(default_factory=list)
    """Those that wait for what follows."""
    complete: bool = False


class Keeper:
    """Listens, and has kept what alerts are about.

    Args:
        bus: whose alerts they are.
        settings: without a purpose nothing is listened to; what is too old is removed all the same.
        clerk: who writes.
    """

    def __init__(self, bus: Bus, settings: Evidence, clerk: Clerk) -> None:
        self.lost = 0
        """Alerts whose audio could not be kept."""
        self._settings = settings
        self._is_on = settings.purpose is not None
        self._clerk = clerk
        self._problems: dict[_Kind, str] = {}
        self._pending: tuple[str, Window, int] | None = None
        self._rings: dict[_Leg, Ring] = {}
        self._takes: deque[_Take] = deque()
        self._queue: deque[tuple[_Kind, Callable[[], None]]] = deque()
        self._working: Future[Any] | None = None
        self._came = asyncio.Event()
        self._idle = asyncio.Event()
        self._thread = DaemonThread("evidence")
        bus.listen(self._on_event)

    @property
    def tap(self) -> Tap | None:
        """To be called with each window and its verdict before that is published; None where none is kept."""
        return self.hear if self._is_on else None

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        return [f"evidence: {problem}" for problem in dict.fromkeys(self._problems.values())]

    def hear(self, call_id: str, window: Window, verdict: WindowVerdict) -> None:
        """A window was scored; its ``window.scored`` follows at once."""
        self._pending = (call_id, window, verdict.run)

    async def run(self) -> None:
        """Write and remove for ever."""
        due = 0.0
        while True:
            if time.monotonic() >= due:
                await self._look_after()
                due = time.monotonic() + SWEEP_S
            while self._queue:
                await self._work(*self._queue.popleft())
            self._idle.set()
            if self._problems:
                due = min(due, time.monotonic() + RETRY_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if self._takes else due - time.monotonic()):
                    await self._came.wait()
            self._came.clear()
            for take in [take for take in self._takes if take.since < time.monotonic() - PATIENCE_S]:
                self._finish(take)

    async def drain(self) -> None:
        """Write what there is, without waiting for what might follow."""
        for take in list(self._takes):
            self._finish(take)
        await self._idle.wait()

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    async def _look_after(self) -> None:
        if self._is_on and await self._work("check", self._clerk.check):
            self._problems.pop("keep", None)
        await self._work("remove", self._clerk.sweep)

    async def _work(self, kind: _Kind, job: Callable[[], None]) -> bool:
        """Have it done in the thread; whether it was."""
        if self._working is None or self._working.done():
            self._working = self._thread.submit(job)
            try:
                async with asyncio.timeout(WRITE_S):
                    await asyncio.shield(asyncio.wrap_future(self._working))
            except TimeoutError:
                self._trouble(kind, "the disk does not answer")
            except FacError as error:
                self._trouble(kind, str(error))
            except Exception:  # audio that cannot be kept must not end the calls that go on
                log.exception("evidence failed", job=kind)
                self._trouble(kind, "internal error; the daemon's log has the details")
            else:
                self._problems.pop(kind, None)
                return True
        self.lost += kind == "keep"
        return False

    def _trouble(self, kind: _Kind, why: str) -> None:
        if self._problems.get(kind) != why:
            log.error("evidence", job=kind, why=why)
        self._problems[kind] = why

    def _put(self, kind: _Kind, job: Callable[[], None]) -> None:
        if len(self._queue) >= MAX_WAITING:
            self.lost += 1
            self._trouble("keep", "more alerts came than the disk takes")
            return
        self._queue.append((kind, job))
        self._idle.clear()
        self._came.set()

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, CallDeleted):
            self._forget(event.call_id or "")
        elif self._is_on and event.call_id is not None:
            self._follow(event, event.call_id, event.leg or "")

    def _follow(self, event: AnyEvent, call_id: str, leg: str) -> None:
        match event:
            case WindowScored():
                self._add(event, (call_id, leg))
            case DecisionChanged(decision=Decision.SUSPICIOUS | Decision.SYNTHETIC):
                self._take((call_id, leg), event.at_s)
            case AlertRaised():
                self._claim(event, (call_id, leg))
            case CallEnded():
                for take in [take for take in self._takes if take.leg[0] == call_id]:
                    self._complete(take)
                self._drop_rings(call_id)

    def _add(self, event: WindowScored, leg: _Leg) -> None:
        if self._pending is None:
            return
        (call_id, window, run), self._pending = self._pending, None
        if (call_id, window.leg, window.index) != (*leg, event.index):
            return
        if leg not in self._rings:
            if len(self._rings) >= MAX_LEGS:
                return
            self._rings[leg] = Ring(self._settings.seconds)
        heard = self._rings[leg].add(window, run, event)
        for take in self._takes:
            if take.leg == leg and not take.complete:
                take.heard.append(heard)
                if event.end_s >= take.at_s + AFTER_S:
                    self._complete(take)

    def _take(self, leg: _Leg, at_s: float) -> _Take | None:
        ring = self._rings.get(leg)
        if ring is None:
            return None
        if len(self._takes) >= MAX_TAKES:
            self._finish(self._takes[0])
        take = _Take(leg, at_s, ring.heard(), time.monotonic())
        self._takes.append(take)
        self._came.set()
        return take

    def _claim(self, alert: AlertRaised, leg: _Leg) -> None:
        fitting = (
            take
            for take in reversed(self._takes)
            if take.leg == leg and take.at_s <= alert.at_s <= take.at_s + AFTER_S
        )
        take = next(fitting, None) or self._take(leg, alert.at_s)
        if take is None:
            self.lost += 1
            log.warning("the audio of an alert was not in memory any more", alert_id=alert.alert_id)
            return
        take.alerts.append(alert)
        if take.complete:
            self._complete(take)

    def _complete(self, take: _Take) -> None:
        take.complete = True
        for alert in take.alerts:
            self._put("keep", partial(self._clerk.keep, alert, tuple(take.heard)))
        take.alerts.clear()

    def _finish(self, take: _Take) -> None:
        self._complete(take)
        self._takes.remove(take)

    def _forget(self, call_id: str) -> None:
        self._takes = deque(take for take in self._takes if take.leg[0] != call_id)
        self._drop_rings(call_id)
        self._clerk.owe(call_id)
        self._put("remove", self._clerk.settle)

    def _drop_rings(self, call_id: str) -> None:
        for leg in [leg for leg in self._rings if leg[0] == call_id]:
            del self._rings[leg]


def keeper_of(bus: Bus, config: Config, scorer: Scorer) -> Keeper:
    """The keeper that a configuration means."""
    audit = audit_file(config.history)
    backend = backend_of(scorer, config.model.threads)
    clerk = Clerk(config.evidence, Folder(), AuditLog(audit) if audit else None, backend, scorer.version)
    return Keeper(bus, config.evidence, clerk)
