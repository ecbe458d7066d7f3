"""The composition root: a configuration in, a running daemon out.

::

    serve ─┬─ batcher, alerts          vital: one dies, the process ends and the service manager restarts it
           ├─ local sources            each keeps its own device running
           └─ HTTP server              a call or subscriber's errors end that connection only

Stopping: admit no more calls, end those that go on, tell subscribers, deliver what alerts are due.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
import uvloop

from fac_model.bundle import Bundle
from fac_stream import __version__, config, config_alerts, config_systems, logs
from fac_stream.alerts.desk import Desk
from fac_stream.alerts.health import Health, Trouble
from fac_stream.alerts.hooks import opened
from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.message import Send
from fac_stream.alerts.outbox import Outbox
from fac_stream.alerts.rules import Rules
from fac_stream.audio.speech import SpeechGate
from fac_stream.bus import Bus
from fac_stream.calls.intake import Intake
from fac_stream.calls.local import LocalSource
from fac_stream.calls.registry import Calls
from fac_stream.config_hooks import Hook
from fac_stream.errors import FacError
from fac_stream.evidence.keeper import keeper_of
from fac_stream.history.records import Records
from fac_stream.listeners.audiosocket import AudioSocketListener
from fac_stream.listeners.rtp import RtpListener
from fac_stream.listeners.siprec import SiprecListener
from fac_stream.listeners.tcp import TcpListener
from fac_stream.metrics import Metrics
from fac_stream.scoring.backend import open_bundle, scorer_of
from fac_stream.scoring.base import Scorer
from fac_stream.scoring.batcher import Batcher
from fac_stream.scoring.self_test import SelfTest
from fac_stream.server.app import build, listen
from fac_stream.server.services import Services
from fac_stream.sources.base import Source
from fac_stream.sources.file import FileSource
from fac_stream.sources.microphone import MicrophoneSource
from fac_stream.sources.stdin import StdinSource
from fac_stream.sources.url import UrlSource, public
from fac_stream.storage.database import Database, state_file
from fac_stream.storage.places import audit_file, history_file

log = structlog.get_logger(__name__)

STOP_DEADLINE_S = 10.0
OUTBOX_DEADLINE_S = 5.0

Announce = Callable[[str], None]


class Daemon:
    """Everything that runs, wired together; what happens is in ``serve``."""

    def __init__(self, settings: config.Config, scorer: Scorer, bundle: Bundle) -> None:
        self.config = settings
        self.scorer = scorer
        self.bundle = bundle
        self.bus = Bus()
        self.metrics = Metrics()
        gate = SpeechGate(settings.speech.threshold, settings.speech.min_level_dbfs)
        self.batcher = Batcher(
            scorer, gate, settings.speech, settings.batching, on_batch=self.metrics.on_batch
        )
        self.keeper = keeper_of(self.bus, settings, scorer)
        self.calls = Calls(settings, self.bus, self.batcher, scorer, self.keeper.tap)
        self.intake = Intake(settings.ingest, self.calls, self.bus)
        self.listeners = listeners_of(settings.listeners, self.intake)
        self.sources = [
            LocalSource(
                _name(source),
                partial(_open, source, settings.ingest),
                self.calls,
                endless=_is_endless(source),
            )
            for source in settings.sources
        ]
        self.records = Records(self.bus, settings, scorer.model)
        alerts = settings.alerts
        files = (_database(alerts), history_file(settings.history), audit_file(settings.history))
        self.watch = Health(alerts.health, [path for path in files if path], scorer.model)
        self.self_test = SelfTest(bundle, scorer, self.batcher, alerts.health.self_test_every_s)
        self.bus.listen(self.watch.lateness.on_event)
        self._desk: Desk | None = None
        self.bus.listen(self.metrics.on_event)
        self.metrics.describe(scorer.model, scorer.device)
        self.metrics.gauge("fac_calls_active", "Calls going on.", lambda: len(self.calls))
        self.metrics.gauge(
            "fac_history_unwritten", "Records that wait for the disk.", lambda: self.records.waiting
        )
        self.metrics.gauge(
            "fac_history_lost", "Records that the disk will never have.", lambda: self.records.lost
        )
        self.metrics.gauge(
            "fac_evidence_lost", "Alerts whose audio could not be kept.", lambda: self.keeper.lost
        )
        self.metrics.gauge("fac_subscribers", "Readers of /ws/events.", lambda: self.bus.subscribers)
        self.metrics.gauge("fac_tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks()))

    def troubles(self) -> list[Trouble]:
        """What is wrong, and which health alert it makes."""
        parts = [(it.name, it.problem) for it in self.sources]
        parts += [(name, it.problem) for name, it in self.listeners.items()]
        found = [Trouble("source-dead", name, f"{name}: {why}") for name, why in parts if why]
        # One alert for all silent calls: a trunk that fails silences hundreds at once.
        found += [Trouble("source-dead", "calls", why) for why in self.intake.problems]
        stored = [self._desk.ledger.problem if self._desk else None, *self.records.problems]
        stored += self.keeper.problems
        found += [Trouble("storage", why.partition(":")[0], why) for why in stored if why]
        if why := self.self_test.problem:
            found.append(Trouble("model-self-test", "model", why))
        return found + self.watch.troubles

    def health(self) -> dict[str, Any]:
        """What ``GET /api/health`` answers."""
        problems = [trouble.problem for trouble in self.troubles()]
        problems += [it.problem for it in (self._desk.outboxes if self._desk else ()) if it.problem]
        return {
            "status": "degraded" if problems else "ok",
            "problems": problems,
            "version": __version__,
            "model": self.scorer.model,
            "device": self.scorer.device,
            "uptime_s": round(time.monotonic() - self.watch.started_at, 1),
            "calls": len(self.calls),
            "subscribers": self.bus.subscribers,
            "listeners": {name: it.address for name, it in self.listeners.items() if it.address},
        }

    async def serve(self, stop: asyncio.Event, announce: Announce) -> None:
        """Run until ``stop`` is set or a vital task dies; ``announce`` gets the address once it answers."""
        async with opened(self.config.alerts.hooks) as hooks:
            desk = self._desk = self._open_desk(hooks)
            async with asyncio.TaskGroup() as vital:
                parts = (self.batcher, self.intake, desk, self.records, self.self_test, self.keeper)
                tasks = [vital.create_task(part.run()) for part in parts]
                tasks.append(vital.create_task(self.watch.run(self.troubles, desk.take)))
                async with listen(build(self._services(desk)), self.config.server) as address:
                    local = [vital.create_task(listener.run()) for listener in self.listeners.values()]
                    local += [vital.create_task(source.run()) for source in self.sources]
                    announce(address)
                    await stop.wait()
                    log.info("stopping")
                    self.calls.close()
                    await _cancel(local)
                    await self.intake.stop()
                    await _within(STOP_DEADLINE_S, desk.settle())  # while there are subscribers
                await _within(OUTBOX_DEADLINE_S, desk.drain())
                await _within(OUTBOX_DEADLINE_S, self.keeper.drain())
                await _within(OUTBOX_DEADLINE_S, self.records.drain())
                await _cancel(tasks)
            desk.close()
            self.records.close()
            self.keeper.close()
        if desk.pending:
            log.error("alerts were not delivered before the end", count=desk.pending)

    def _open_desk(self, hooks: Sequence[tuple[Hook, Send]]) -> Desk:
        outboxes = [Outbox(hook, send, self.metrics.on_delivery) for hook, send in hooks]
        rules = Rules(self.config.alerts.rules, self.config.alerts.allow)
        database = Database(_database(self.config.alerts), MIGRATIONS, erases=True)
        desk = Desk(self.bus, database, outboxes, rules, keep_days=_keep_alerts_days(self.config))
        self.metrics.gauge(
            "fac_alerts_allowed",
            "Synthetic voices that raised no alert: alerts.allow has them.",
            lambda: rules.allowed,
        )
        self.metrics.gauge(
            "fac_alerts_unsaved", "Writes about alerts that the disk refuses.", lambda: desk.ledger.unsaved
        )
        return desk

    def _services(self, desk: Desk) -> Services:
        rtp = self.listeners.get("rtp")
        return Services(
            config=self.config,
            bus=self.bus,
            calls=self.calls,
            intake=self.intake,
            batcher=self.batcher,
            scorer=self.scorer,
            bundle=self.bundle,
            metrics=self.metrics,
            desk=desk,
            health=self.health,
            recorder=self.records.recorder,
            rtp=rtp if isinstance(rtp, RtpListener) else None,
        )


def run(settings: config.Config) -> None:
    """Run the daemon in this process until SIGINT or SIGTERM.

    Raises:
        FacError: it cannot start, or a vital part of it failed.
    """
    logs.configure(settings.logging)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_main(settings, _print_address))
        except* FacError as group:
            raise _first(group) from None


async def _main(settings: config.Config, announce: Announce) -> None:
    stop = asyncio.Event()
    with _stop_on_signals(stop):
        bundle = await asyncio.to_thread(open_bundle, settings.model)
        scorer = await asyncio.to_thread(scorer_of, bundle, settings.model)
        await Daemon(settings, scorer, bundle).serve(stop, announce)


@contextmanager
def _stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class Listener(Protocol):
    """A port beside the daemon's own."""

    @property
    def address(self) -> str | None:
        """Host and port once it listens."""

    @property
    def problem(self) -> str | None:
        """Why it does not work, in words."""

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            FacError: the port cannot be listened on.
        """


def listeners_of(settings: config_systems.Listeners, intake: Intake) -> dict[str, Listener]:
    """The listeners that the configuration names."""
    listeners: dict[str, Listener] = {}
    if settings.audiosocket:
        listeners["audiosocket"] = AudioSocketListener(settings.audiosocket, intake)
    if settings.tcp:
        listeners["tcp"] = TcpListener(settings.tcp, intake)
    if settings.rtp:
        listeners["rtp"] = rtp = RtpListener(settings.rtp, intake)
        if settings.siprec:
            listeners["siprec"] = SiprecListener(settings.siprec, intake, rtp)
    return listeners


def _open(source: config.SourceConfig, ingest: config.Ingest) -> Source:
    match source:
        case config.FileSource():
            return FileSource(source)
        case config_systems.UrlSource():
            return UrlSource(source, ingest)
        case config_systems.StdinSource():
            return StdinSource(source, ingest)
        case _:
            return MicrophoneSource(source, queue_s=ingest.queue_s)


def _is_endless(source: config.SourceConfig) -> bool:
    return not isinstance(source, config.FileSource) or source.repeat


def _name(source: config.SourceConfig) -> str:
    match source:
        case config.FileSource():
            return f"file {source.path}"
        case config_systems.UrlSource():
            return f"url {public(source.url.get_secret_value())}"
        case config_systems.StdinSource():
            return "standard input"
        case _:
            return f"microphone {source.device or '(default)'}"


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=STOP_DEADLINE_S) if tasks else None


async def _within(seconds: float, work: Awaitable[None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


def _keep_alerts_days(settings: config.Config) -> float:
    """As long as their calls, and as their audio: it says nothing without what was said of the alert."""
    evidence_days = settings.evidence.keep_days if settings.evidence.purpose else 0.0
    return max(settings.history.keep_days, evidence_days)


def _database(alerts: config_alerts.Alerts) -> Path | None:
    return state_file("alerts.db") if alerts.database == "auto" else alerts.database


def _first(error: BaseException) -> BaseException:
    """The first error of a group of groups: one cause is enough to say what to do."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _print_address(address: str) -> None:
    print(f"FAC Stream is listening. Dashboard: {address}", flush=True)  # noqa: T201 - what the user waits for
