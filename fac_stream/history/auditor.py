"""From the daemon to the audit log: bounded, on its own thread, tried again while the disk refuses."""

import asyncio
from collections import deque
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import JsonValue

from fac_stream.bus import Bus
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import StorageError
from fac_stream.events import AlertMarked, AnyEvent, CallDeleted
from fac_stream.history.numbers import Hashes
from fac_stream.storage.audit import AuditLog, Entry, entries

log = structlog.get_logger(__name__)

STARTED = "daemon.started"
MAX_BACKLOG = 1000
"""Entries that may wait for the disk; the next ones are lost, and counted."""
RETRY_S = 2.0
PATIENCE_S = 5.0


class Auditor:
    """Writes the daemon's own entries; belongs to the event loop.

    Ids of calls are written as keyed hashes, ``call``: the log outlives the calls that it is about.
    """

    def __init__(self, bus: Bus, audit: AuditLog, hashes: Hashes) -> None:
        self.problem: str | None = None
        """Why nothing is written, in words."""
        self.lost = 0
        """Entries that did not fit into the backlog."""
        self._audit = audit
        self._hashes = hashes
        self._backlog: deque[partial[Entry]] = deque()
        self._writing: Future[Entry] | None = None
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._thread = DaemonThread("audit")
        bus.listen(self._on_event)

    @property
    def waiting(self) -> int:
        """Entries that wait for the disk."""
        return len(self._backlog)

    def add(self, kind: str, call_id: str | None = None, **facts: JsonValue) -> None:
        """Have an entry written; never waits."""
        if len(self._backlog) >= MAX_BACKLOG:
            self.lost += 1
            return
        self._backlog.append(partial(self._append, kind, call_id, facts, datetime.now(UTC)))
        self._changed.set()

    def begin(self, **facts: JsonValue) -> None:
        """Have the start of the daemon written, and what of these facts was otherwise at the last one."""
        self._backlog.append(partial(self._append_start, facts, datetime.now(UTC)))
        self._changed.set()

    async def run(self) -> None:
        """Write for ever what comes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.drain()
            if self.problem:
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def drain(self) -> None:
        """Write what waits; returns where the disk refuses."""
        async with self._turn:
            while self._backlog:
                await self._write()
                if self.problem:
                    return

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    async def _write(self) -> None:
        # An entry that the disk has not answered for is not handed over again: it would stand there twice.
        self._writing = self._writing or self._thread.submit(self._backlog[0])
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(asyncio.wrap_future(self._writing))
        except TimeoutError:
            self._trouble("the disk does not answer")
            return
        except StorageError as error:
            self._writing = None
            self._trouble(str(error))
            return
        except ValueError:
            log.exception("an entry of the audit log is wrong and was left out")
            self.lost += 1
        self._writing = self.problem = None
        self._backlog.popleft()

    def _append(self, kind: str, call_id: str | None, facts: dict[str, JsonValue], at: datetime) -> Entry:
        call = {"call": self._hashes.call(call_id)} if call_id is not None else {}
        return self._audit.append(kind, {**facts, **call}, at)

    def _append_start(self, facts: dict[str, JsonValue], at: datetime) -> Entry:
        path = self._audit.path
        starts = (it for it in entries(path) if it.kind == STARTED) if self._audit.head() else ()
        last = next(iter(deque(starts, maxlen=1)), None)
        changed: dict[str, JsonValue] = (
            {name: last.facts.get(name) for name, value in facts.items() if last.facts.get(name) != value}
            if last
            else {}
        )
        entry = self._audit.append(STARTED, {**facts, "before": changed}, at)
        # So that the head stands in another place too: where the log goes.
        log.info("audit log", path=str(path), seq=entry.seq, head=entry.hash)
        return entry

    def _on_event(self, event: AnyEvent) -> None:
        match event:
            case AlertMarked():
                self.add("alert.marked", event.call_id, alert=event.alert_id, mark=event.mark, by=event.by)
            case CallDeleted():
                self.add("call.deleted", event.call_id, by=event.by)

    def _trouble(self, why: str) -> None:
        if self.problem is None:
            log.error("the audit log is not written", why=why)
        self.problem = f"the audit log is not written: {why}"
