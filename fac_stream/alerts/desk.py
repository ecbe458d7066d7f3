"""From the bus to the ledger, and only then to subscribers and receivers.

An alert that anybody saw is on disk, with its deliveries: it is published after its transaction, a few
milliseconds after the event that raised it. Where the disk refuses it is published all the same, because a
warning that comes is worth more than one that is safe; the ledger's ``problem`` says so.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from fac_stream.alerts.ledger import Found, Ledger
from fac_stream.alerts.outbox import Outbox
from fac_stream.alerts.rules import SyntheticVoice
from fac_stream.alerts.webhook import Message
from fac_stream.bus import Bus
from fac_stream.events import AlertRaised, AlertResolved, AnyEvent
from fac_stream.storage.database import Database

log = structlog.get_logger(__name__)

MAX_WAITING = 10_000
"""Alerts that may wait for the disk; the next ones are published without."""


class Desk:
    """Where alerts come in, are written down and go out."""

    def __init__(self, bus: Bus, database: Database, outboxes: Sequence[Outbox]) -> None:
        self.outboxes = outboxes
        self._bus = bus
        self._rule = SyntheticVoice()
        self._by_receiver = {outbox.receiver.id: outbox for outbox in outboxes}
        self.ledger = Ledger(database, [outbox.receiver for outbox in outboxes], self._on_found)
        for outbox in outboxes:
            outbox.ledger = self.ledger
        self._database = database
        self._waiting: deque[tuple[AlertRaised | AlertResolved, Message]] = deque()
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
        self._told.set()

    def _tell(self, alert: AlertRaised | AlertResolved, message: Message) -> None:
        say = log.warning if isinstance(alert, AlertRaised) else log.info
        say(alert.type, call_id=alert.call_id, leg=alert.leg, alert_id=alert.alert_id)
        self._bus.publish(alert)
        for outbox in self.outboxes:
            outbox.put(message)

    def _on_event(self, event: AnyEvent) -> None:
        for raised in self._rule.on(event):
            alert = raised.model_copy(update={"time": datetime.now(UTC)})
            if len(self._waiting) >= MAX_WAITING:
                self._tell(alert, Message.of(alert))
                continue
            self._waiting.append((alert, Message.of(alert)))
            self._came.set()

    def _on_found(self, receiver: str, found: Found) -> None:
        self._by_receiver[receiver].on_found(found)
