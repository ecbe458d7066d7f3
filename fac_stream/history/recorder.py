"""From the bus to ``history.db``, without ever holding up a call.

Events become entries in a bounded backlog; a task writes what waits, in one transaction each second. While
the disk refuses, entries wait, ``problem`` says why, and what no longer fits is counted in ``lost``: pieces
of timelines first.

The same task looks for deletions, also those that ``fac history delete`` asked for beside it: it publishes
``call.deleted``, on which everybody else who keeps something of that call lets go of it.
"""

import asyncio
import sqlite3
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import structlog

from fac_stream.bus import Bus
from fac_stream.calls.decision import worst
from fac_stream.config_storage import History
from fac_stream.errors import StorageError
from fac_stream.events import (
    AlertMarked,
    AlertRaised,
    AlertResolved,
    AnyEvent,
    CallDeleted,
    CallEnded,
    CallStarted,
    Decision,
    DecisionChanged,
    WindowScored,
)
from fac_stream.history import entries
from fac_stream.history.entries import Beginning, LegSoFar, Step
from fac_stream.history.numbers import Hashes
from fac_stream.storage.database import Database, Reader

log = structlog.get_logger(__name__)

MAX_BACKLOG = 20_000
"""Entries that may wait for the disk; pieces of timelines may fill half of it."""
MAX_ENDED = 1000
"""Ended calls whose late alerts still find them."""
WRITE_EVERY_S = 1.0
LOOK_EVERY_S = 2.0
"""How often the file is looked at for what ``fac history`` changed, and a refused write is tried again."""
PATIENCE_S = 5.0

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], None]


@dataclass(slots=True)
class _Call:
    beginning: Beginning
    worst: Decision = Decision.UNKNOWN
    legs: dict[str, tuple[LegSoFar, Step]] = field(default_factory=dict)


class Recorder:
    """The writer of one history; belongs to the event loop.

    Args:
        bus: whose events are written.
        database: the file.
        settings: what is written of metadata.
        hashes: of numbers.
        model: name and short hash of the bundle that scores.
    """

    def __init__(self, bus: Bus, database: Database, settings: History, hashes: Hashes, model: str) -> None:
        self.problem: str | None = None
        """Why nothing is written, in words."""
        self.lost = 0
        """Entries that did not fit into the backlog, or that the disk did not take."""
        self.hashes = hashes
        self._bus = bus
        self._database = database
        self._settings = settings
        self._model = model
        self._life = uuid.uuid4().hex
        self._open: dict[str, _Call] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._reader = Reader(database.path) if database.path else None
        self._backlog: deque[Write] = deque()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._opened = 0
        self._told: dict[str, str] = {}
        self._untidy = False
        bus.listen(self._on_event)

    @property
    def waiting(self) -> int:
        """Entries that wait for the disk."""
        return len(self._backlog)

    async def run(self) -> None:
        """Write for ever what comes."""
        while True:
            await self.write()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(LOOK_EVERY_S if self.problem else WRITE_EVERY_S)

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What the file answers, or does: one transaction.

        Raises:
            StorageError: the disk refuses, or does not answer.
        """
        return await self._answered(self._database.run(question))

    async def look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What the file answers to a question that may take its time: beside what is written.

        Raises:
            StorageError: as ``ask``.
        """
        if self._reader is None or not self._opened:  # in memory, or not made yet
            return await self.ask(question)
        return await self._answered(self._reader.run(question))

    async def _answered(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answer
        except TimeoutError:
            raise StorageError(f"{self._database.path}: the disk does not answer") from None

    async def delete(self, call_id: str, by: str) -> int:
        """Delete a call everywhere; how many of this id the history had. ``by`` stands in the audit log.

        Raises:
            ConflictError: it is going on.
            StorageError: nothing was deleted.
        """
        await self.write()
        if self.problem:  # what still waits would bring the call back
            raise StorageError(self.problem)
        deleted = await self.ask(partial(entries.delete, call_id, by))
        await self.write()
        return deleted

    async def drain(self) -> None:
        """Write what waits; returns where the disk refuses."""
        while self._backlog or self._told:
            await self.write()
            if self.problem:
                return
        if self._untidy:
            await self.write()

    def tidy(self) -> None:
        """Have what was deleted vanish from the file with the next write that its readers allow."""
        self._untidy = True
        self._changed.set()

    def close(self) -> None:
        """Let the file go."""
        self._database.close()
        if self._reader:
            self._reader.close()

    async def write(self) -> None:
        """Write what waits, look for deletions and tell of them."""
        async with self._turn:
            self._changed.clear()
            batch = list(self._backlog)
            deletions: dict[str, str] = {}
            try:
                self._opened, deletions = await self.ask(partial(self._transact, batch))
                if self._untidy:
                    self._untidy = False
                    if not await self._tidied():
                        self._untidy = True
            except StorageError as error:
                self._trouble(str(error))
                return
            except sqlite3.Error:
                log.exception("an entry of the history is wrong: what was to be written with it was left out")
                self.lost += len(batch)
            else:
                if self.problem:
                    log.info("the history is written again")
                self.problem = None
            for _ in batch:
                self._backlog.popleft()
        self._tell(deletions)

    def _transact(self, batch: Sequence[Write], connection: sqlite3.Connection) -> tuple[int, dict[str, str]]:
        opened = self._database.opened
        if self._opened != opened:  # a file that is new to us, or to the world
            crashed = entries.close_orphans(self._life, connection)
            if crashed:
                log.warning("calls had ended with the daemon before this one", count=crashed)
            for call in list(self._open.values()):
                call.beginning.write(connection)
        for write in batch:
            write(connection)
        connection.executemany("DELETE FROM deletion WHERE call_id = ?", [(it,) for it in self._told])
        deletions = dict(connection.execute("SELECT call_id, who FROM deletion LIMIT 1000").fetchall())
        # What waited for the disk while somebody deleted the call beside us stands there only now.
        connection.executemany(
            "DELETE FROM call WHERE call_id = ? AND end_reason IS NOT NULL", [(it,) for it in deletions]
        )
        return opened, deletions

    async def _tidied(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._database.tidy()
        except (StorageError, TimeoutError):
            return False

    def _tell(self, deletions: dict[str, str]) -> None:
        # They are struck off the list with the next transaction: whoever hears of one has that long to begin.
        self._untidy |= bool(deletions or self._told)
        self._told = deletions
        for call_id, by in deletions.items():
            log.info("a call is deleted everywhere", by=by)
            self._bus.publish(CallDeleted(call_id=call_id, by=by[:64]))
        if deletions:
            self._changed.set()

    def _on_event(self, event: AnyEvent) -> None:
        match event:
            case CallStarted():
                self._begin(event)
            case WindowScored():
                self._add_window(event)
            case DecisionChanged() if call := self._open.get(event.call_id or ""):
                call.worst = worst([call.worst, event.decision])
                self._put(partial(entries.decide, call.beginning.call, event, call.worst))
            case CallEnded() if call := self._open.pop(event.call_id or "", None):
                self._end(call, event)
            case AlertRaised():
                self._put(partial(entries.alert, self._call_of(event.call_id), event))
            case AlertResolved():
                self._put(partial(entries.resolve, event))
            case AlertMarked():
                self._put(partial(entries.mark, event))
            case CallDeleted():
                self._ended.pop(event.call_id or "", None)

    def _begin(self, event: CallStarted) -> None:
        number = int(entries.seconds(event) * 1e6) or time.time_ns() // 1000
        while any(call.beginning.call == number for call in self._open.values()):
            number += 1
        beginning = Beginning(number, self._life, self._model, event, self._settings, self.hashes)
        self._open[event.call_id or ""] = _Call(beginning)
        self._put(beginning.write)

    def _add_window(self, event: WindowScored) -> None:
        call, leg = self._open.get(event.call_id or ""), event.leg or ""
        if call is None:
            return
        number = Step.number_of(event)
        so_far, step = call.legs.get(leg) or (LegSoFar(), Step(number))
        if step.number != number:
            self._put_step(call, leg)
            step = Step(number)
        step.add(event)
        so_far.add(event)
        call.legs[leg] = so_far, step

    def _end(self, call: _Call, event: CallEnded) -> None:
        for leg in call.legs:
            self._put_step(call, leg)
        of_call = worst([call.worst, *(leg.worst_decision for leg in event.legs)])
        self._put(partial(entries.end, call.beginning.call, event, of_call))
        self._ended[event.call_id or ""] = call.beginning.call
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def _call_of(self, call_id: str | None) -> int | None:
        """The call that an alert belongs to; 0, which none has, where it is not known any more."""
        if call_id is None:
            return None
        call = self._open.get(call_id)
        return call.beginning.call if call else self._ended.get(call_id, 0)

    def _put_step(self, call: _Call, leg: str) -> None:
        so_far, step = call.legs[leg]
        write = partial(entries.step, call.beginning.call, leg, step, replace(so_far))
        self._put(write, share=2)

    def _put(self, write: Write, share: int = 1) -> None:
        if len(self._backlog) >= MAX_BACKLOG // share:
            self.lost += 1
            return
        self._backlog.append(write)
        self._changed.set()

    def _trouble(self, why: str) -> None:
        if self.problem is None:
            log.error("the history is not written", why=why)
        self.problem = f"the history is not written: {why}"
