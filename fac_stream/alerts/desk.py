"""From the bus to the ledger, and only then to subscribers and receivers.

An alert that anybody saw is on disk, with its deliveries: it is published after its transaction, a few
milliseconds after the event that raised it. Where the disk refuses it is published all the same, because a
warning that comes is worth more than one that is safe; the ledger's ``problem`` says so.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog

from fac_stream.alerts.ledger import Found, Ledger
from fac_stream.alerts.message import Message
from fac_stream.alerts.outbox import Outbox
from fac_stream.alerts.records import AlertRecord, Wanted, marked, read, recorded
from fac_stream.alerts.rules import Rules
from fac_stream.bus import Bus
from fac_stream.errors import StorageError
from fac_stream.events import AlertMarked, AlertRaised, AlertResolved, AnyEvent, CallDeleted
from fac_stream.storage.database import Database, Work

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_WAITING = 10_000
"""Alerts that may wait for the disk; the next ones are published without."""
ANSWER_S = 5.0
"""How long a question to the disk may take."""


class Desk:
    """Where alerts come in, are written down and go out."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        outboxes: Sequence[Outbox],
        rules: Rules,
        *,
        keep_days: float | None = None,
    ) -> None:
        self.outboxes = outboxes
        self.rules = rules
        self._bus = bus
        self._by_receiver = {outbox.receiver.id: outbox for outbox in outboxes}
        receivers = [outbox.receiver for outbox in outboxes]
        self.ledger = Ledger(database, receivers, self._on_found, bus.publish, keep_days=keep_days)
        for outbox in outboxes:
            outbox.ledger = self.ledger
        self._database = database
        self._waiting: deque[tuple[AlertRaised | AlertResolved, Message]] = deque()
        self._deleted: set[str | None] = set()
        self._came = asyncio.Event()
        self._told = asyncio.Event()
        bus.listen(self._on_event)

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words."""
        found = [self.ledger.problem, *(outbox.problem for outbox in self.outboxes)]
        return [problem for problem in found if problem]

    @property
    def pending(self) -> int:
        """Deliveries not yet made or given up."""
        return sum(outbox.pending for outbox in self.outboxes)

    async def run(self) -> None:
        """Write down and tell for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ledger.run())
            for outbox in self.outboxes:
                group.create_task(outbox.run())
            while True:
                await self._came.wait()
                await self._record()

    def take(self, alert: AlertRaised | AlertResolved) -> None:
        """An alert that no rule made: it is written down and told like any other."""
        alert = alert.model_copy(update={"time": datetime.now(UTC)})
        if len(self._waiting) >= MAX_WAITING:
            self._tell(alert, Message.of(alert))
            return
        self._waiting.append((alert, Message.of(alert)))
        self._came.set()

    async def mark(self, mark: AlertMarked) -> AlertRecord | None:
        """Write a mark down; it is on disk when this returns, and published after that.

        Returns:
            the alert with its marks; None where there is no such alert.

        Raises:
            StorageError: nothing was written; the message says why and what to do.
        """
        found = await self._ask(partial(marked, mark))
        self.ledger.look()
        return found

    async def records(self, wanted: Wanted) -> list[AlertRecord]:
        """Alerts of this daemon and those before it on the same file, newest first.

        Raises:
            StorageError: the disk does not give them.
        """
        return await self._ask(partial(recorded, wanted))

    async def record(self, alert_id: str) -> AlertRecord | None:
        """One alert; None where there is none with this id.

        Raises:
            StorageError: the disk does not give it.
        """
        return await self._ask(partial(read, alert_id))

    async def settle(self) -> None:
        """Wait until every alert so far is published."""
        while self._waiting:
            self._told.clear()
            await self._told.wait()

    async def drain(self) -> None:
        """Wait until nothing is due now, and all of it is on disk."""
        await self.settle()
        for outbox in self.outboxes:
            await outbox.drain()
        await self.ledger.drain()

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    async def _record(self) -> None:
        batch = list(self._waiting)
        self._came.clear()
        await self.ledger.record([message for _, message in batch])
        for alert, message in batch:
            self._waiting.popleft()
            self._tell(alert, message)
        for call_id in filter(None, self._deleted):
            self.ledger.forget_call(call_id)
        self._deleted &= {alert.call_id for alert, _ in self._waiting}
        self._told.set()

    def _tell(self, alert: AlertRaised | AlertResolved, message: Message) -> None:
        say = log.warning if isinstance(alert, AlertRaised) else log.info
        say(alert.type, call_id=alert.call_id, leg=alert.leg, alert_id=alert.alert_id)
        self._bus.publish(alert)
        for outbox in self.outboxes:
            outbox.put(message)

    def _on_event(self, event: AnyEvent) -> None:
        if isinstance(event, CallDeleted) and event.call_id:
            self.ledger.forget_call(event.call_id)
            # Alerts of it that wait for the disk would bring it back.
            self._deleted |= {event.call_id} & {alert.call_id for alert, _ in self._waiting}
        for alert in self.rules.on(event, time.monotonic()):
            self.take(alert)

    async def _ask(self, question: Work[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._database.run(question)
        except TimeoutError:
            raise StorageError("the disk does not answer: try again, and look at GET /api/health") from None

    def _on_found(self, receiver: str, found: Found) -> None:
        self._by_receiver[receiver].on_found(found)
