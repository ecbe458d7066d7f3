"""Alerts and their deliveries on disk: what a crash must not lose.

The outboxes deliver from memory; the ledger writes down what they are about to do and what came of it, in
order, in one transaction for each alert and all its deliveries. While the disk refuses, writes wait here and
are tried again, and alerts go out all the same: ``problem`` says that a crash would lose them.

No secret and no address is written: a receiver is known by a hash of its URL or name, and for people by its
host or name.
"""

import asyncio
import json
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import structlog

from fac_stream.alerts.message import Message, Receiver
from fac_stream.alerts.records import MARKS, forget_call, note_told, untold
from fac_stream.alerts.retention import Age, prune
from fac_stream.errors import StorageError
from fac_stream.events import AlertMarked, AlertResolved
from fac_stream.storage.database import Database

log = structlog.get_logger(__name__)

MAX_BACKLOG = 10_000
"""Writes that may wait for a disk that refuses; then the oldest is lost to the disk, not to the receivers."""
PRUNE_EVERY = 100
LOOK_EVERY_S = 2.0
"""How often the file is looked at for what ``fac alerts`` changed, and a refused write is tried again."""
PATIENCE_S = 5.0
"""How long an alert waits for the disk before it goes out without."""
SHORT_PATIENCE_S = 0.5
"""The same while the disk is in trouble."""

MIGRATIONS = (
    """
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message_id TEXT NOT NULL UNIQUE,
        alert_id TEXT NOT NULL,
        type TEXT NOT NULL,
        written_at REAL NOT NULL,
        life TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX message_alert ON message (alert_id, type);
    CREATE TABLE delivery (
        message INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
        hook TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
        attempts INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL DEFAULT 0,
        detail TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (message, hook)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX delivery_open ON delivery (hook, message) WHERE state = 'pending';
    CREATE TABLE hook (
        hook TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        gone TEXT
    ) STRICT, WITHOUT ROWID
    """,
    MARKS,
)
"""``life``: which run of a daemon raised it. ``due``, ``written_at``: Unix seconds. ``gone``: the fingerprint
of the configuration that was answered 410; with another one, or null, the receiver is tried."""

State = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one delivery stands."""

    message_id: str
    state: State
    attempts: int
    due: float
    """Unix seconds of the next attempt."""
    detail: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery that is still to be made, as the disk has it."""

    message: Message
    attempts: int
    due: float


@dataclass(frozen=True, slots=True)
class Found:
    """What the disk had for one receiver."""

    gone: bool
    pending: list[Pending]


@dataclass(slots=True)
class _Write:
    run: Callable[[sqlite3.Connection], None]
    about: tuple[str, str] | None = None
    """Receiver and message whose standing it changes; no message: the receiver's own."""
    told: asyncio.Event = field(default_factory=asyncio.Event)
    refused: bool = False
    """Whether the file will never take it."""


class Ledger:
    """The alerts' side of a database; belongs to the event loop.

    Args:
        database: the file.
        receivers: those of the configuration.
        on_found: called with a receiver's id and what the disk has for it, at the start and whenever
            another program changed it. It may name deliveries that are known already.
        on_marked: called with every mark, by whatever program it was written; again after a crash, where it
            cannot be known whether it was told.
        keep_days: after which an alert that is over is deleted; None: never.
    """

    def __init__(
        self,
        database: Database,
        receivers: Sequence[Receiver],
        on_found: Callable[[str, Found], None],
        on_marked: Callable[[AlertMarked], object] = lambda _: None,
        *,
        keep_days: float | None = None,
    ) -> None:
        self._why: str | None = None
        self._refused = 0
        self._database = database
        self._receivers = receivers
        self._on_found = on_found
        self._on_marked = on_marked
        self._backlog: deque[_Write] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._life = uuid.uuid4().hex
        self._age = Age(keep_days, [receiver.id for receiver in receivers], self._life)
        self._seen: tuple[int, int] | None = None
        self._untidy = False

    @property
    def problem(self) -> str | None:
        """Why alerts would not survive a crash, in words; what the file refused is told until a restart."""
        if self._why or not self._refused:
            return self._why
        return f"alerts were left out of the file: {self._refused} records; the daemon's log has the details"

    @property
    def unsaved(self) -> int:
        """Writes that wait for the disk."""
        return len(self._backlog)

    async def record(self, messages: Sequence[Message]) -> bool:
        """Write messages and a pending delivery of each to whom it concerns; whether the disk has them.

        Waits for ``PATIENCE_S`` at most; what the disk did not take then is tried again later.
        """
        # One by one: a message that the file refuses takes no other with it.
        writes = [_Write(partial(_insert, [it], self._receivers, self._life)) for it in messages]
        for write in writes:
            self._append(write)
        with suppress(TimeoutError):
            async with asyncio.timeout(SHORT_PATIENCE_S if self._why else PATIENCE_S):
                for write in writes:
                    await write.told.wait()
        waiting = {id(write) for write in self._backlog}
        return not any(write.refused or id(write) in waiting for write in writes)

    def note(self, receiver: Receiver, standing: Standing) -> None:
        """Write down what came of a delivery; never waits."""
        self._append(_Write(partial(_stand, receiver.id, standing), (receiver.id, standing.message_id)))

    def note_gone(self, receiver: Receiver) -> None:
        """Write down that a receiver answered 410; never waits."""
        self._append(_Write(partial(_gone, receiver), (receiver.id, "")))

    def forget_call(self, call_id: str) -> None:
        """Delete the alerts of a call, out of the file too; never waits. What is being delivered still is."""
        self._append(_Write(partial(forget_call, call_id)))
        self._untidy = True

    def look(self) -> None:
        """Something was written beside the ledger: look at it soon; never waits."""
        self._changed.set()

    async def run(self) -> None:
        """Write for ever what comes in, and look at what others wrote."""
        while True:
            await self._work()
            if self._why is None and self._changed.is_set():
                continue
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def drain(self) -> None:
        """Write what waits; returns where the disk refuses."""
        while self._backlog:
            await self._work()
            if self._why:
                return

    async def _work(self) -> None:
        async with self._turn:
            self._changed.clear()
            batch, untidy = list(self._backlog), self._untidy
            self._untidy = False
            try:
                async with asyncio.timeout(PATIENCE_S):
                    seen, found, marks, aged = await self._database.run(partial(self._transact, batch))
                    untidy |= bool(aged)
                    untidy = untidy and not await self._database.tidy()
            except StorageError as error:
                self._trouble(str(error))
            except TimeoutError:  # it may happen yet: writing the same again does no harm
                self._trouble("the disk does not answer")
            except sqlite3.Error as error:  # of no write of the batch: those are refused one by one
                self._trouble(f"the file contradicts itself: {error}")
            else:
                if self._why:
                    log.info("alerts are saved again")
                self._why, self._seen = None, seen
                self._refused += sum(write.refused for write in batch)
                self._tell(found)
                self._forget(batch)
                self._tell_marks(marks)
            self._untidy = self._untidy or untidy
            for write in batch:
                write.told.set()

    def _transact(
        self, batch: list[_Write], connection: sqlite3.Connection
    ) -> tuple[tuple[int, int], dict[str, Found], dict[int, AlertMarked], int]:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        seen, found = (self._database.opened, version), {}
        if self._seen is None or self._seen[0] != seen[0]:
            connection.executemany(
                "INSERT INTO hook (hook, host) VALUES (?, ?) ON CONFLICT DO UPDATE SET host = excluded.host",
                [(receiver.id, receiver.host) for receiver in self._receivers],
            )
            _insert(_orphans(connection, self._life), self._receivers, self._life, connection)
        if self._seen != seen:
            # Before the batch: what it inserts is not found, but put into the outboxes by who recorded it.
            found = {receiver.id: _found(connection, receiver) for receiver in self._receivers}
        for write in batch:
            _attempt(write, connection)
        return seen, found, untold(connection), self._age.forget(connection)

    def _tell(self, found: dict[str, Found]) -> None:
        settled = {write.about for write in self._backlog}  # since the disk was read, or by this batch
        for receiver, it in found.items():
            pending = [each for each in it.pending if (receiver, each.message.message_id) not in settled]
            self._on_found(receiver, Found(it.gone or (receiver, "") in settled, pending))

    def _tell_marks(self, marks: dict[int, AlertMarked]) -> None:
        for mark in marks.values():
            self._on_marked(mark)
        if marks:
            self._append(_Write(partial(note_told, list(marks))))

    def _append(self, write: _Write) -> None:
        if len(self._backlog) >= MAX_BACKLOG:
            self._backlog.popleft().told.set()
            log.error("too much waits for the disk: the oldest record of an alert was left out")
        self._backlog.append(write)
        self._changed.set()

    def _forget(self, batch: list[_Write]) -> None:
        done = {id(write) for write in batch}
        while self._backlog and id(self._backlog[0]) in done:
            self._backlog.popleft()

    def _trouble(self, why: str) -> None:
        if self._why is None:
            log.error("alerts are not saved: a crash would lose those not yet delivered", why=why)
        self._why = f"alerts are kept in memory only: {why}"


def _attempt(write: _Write, connection: sqlite3.Connection) -> None:
    """Write it, or nothing of it where the file will never take it."""
    connection.execute("SAVEPOINT attempt")
    try:
        write.run(connection)
        write.refused = False
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError):
        write.refused = True
        log.exception("a record of alerts is wrong and was left out", about=write.about)
        connection.execute("ROLLBACK TO attempt")
    connection.execute("RELEASE attempt")


def _insert(
    messages: Iterable[Message], receivers: Sequence[Receiver], life: str, connection: sqlite3.Connection
) -> None:
    for message in messages:
        added = connection.execute(
            "INSERT INTO message (message_id, alert_id, type, written_at, life, body)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (message.message_id, message.alert_id, message.type, time.time(), life, message.body),
        )
        if not added.rowcount:
            continue
        row = added.lastrowid or 0
        connection.executemany(
            "INSERT OR REPLACE INTO delivery (message, hook, state) VALUES (?, ?, 'pending')",
            [(row, receiver.id) for receiver in receivers if receiver.wants(message)],
        )
        if row % PRUNE_EVERY == 0:
            prune(connection, row)


def _stand(hook: str, standing: Standing, connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE delivery SET state = ?, attempts = ?, due = ?, detail = ?"
        " WHERE hook = ? AND message = (SELECT id FROM message WHERE message_id = ?)",
        (
            standing.state,
            standing.attempts,
            standing.due,
            standing.detail[:200],
            hook,
            standing.message_id,
        ),
    )


def _gone(receiver: Receiver, connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO hook (hook, host, gone) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET gone = excluded.gone",
        (receiver.id, receiver.host, receiver.fingerprint),
    )


def _found(connection: sqlite3.Connection, receiver: Receiver) -> Found:
    row = connection.execute("SELECT gone FROM hook WHERE hook = ?", (receiver.id,)).fetchone()
    rows = connection.execute(
        "SELECT message_id, alert_id, type, body, attempts, due"
        " FROM delivery JOIN message ON message.id = delivery.message"
        " WHERE hook = ? AND state = 'pending' ORDER BY message.id",
        (receiver.id,),
    )
    return Found(
        gone=row is not None and row[0] == receiver.fingerprint,
        pending=[Pending(Message(*it[:4]), attempts=it[4], due=it[5]) for it in rows],
    )


def _orphans(connection: sqlite3.Connection, life: str) -> list[Message]:
    """Resolutions of what an earlier daemon raised and did not live to resolve: what it was about ended."""
    rows = connection.execute(
        "SELECT body FROM message AS raised WHERE type = 'alert.raised' AND life <> ? AND NOT EXISTS"
        " (SELECT 1 FROM message WHERE alert_id = raised.alert_id AND type = 'alert.resolved')"
        " ORDER BY id",
        (life,),
    ).fetchall()
    resolved = [_resolution(body) for (body,) in rows]
    return [Message.of(event) for event in resolved if event]


def _resolution(body: bytes) -> AlertResolved | None:
    try:
        raised = json.loads(body)["data"]
        kept = {name: raised[name] for name in ("call_id", "leg", "alert_id", "rule", "at_s")}
        category = raised.get("category", "fraud")
        reason = "call_ended" if category == "fraud" else "restarted"
        kept |= {"category": category, "severity": raised["severity"]}
        return AlertResolved.model_validate({**kept, "reason": reason})
    except (ValueError, KeyError, TypeError):
        log.exception("an alert on disk cannot be read: it stays unresolved")
        return None
