"""Alert deliveries that are still to be made, to one receiver.

Each message is tried until it is delivered, refused for good or out of attempts; the pause doubles from
``first_retry_s``, with jitter. Messages that wait for their next attempt do not hold up others, but for one:
what resolves an alert waits until the receiver was told, or will not be, that it was raised. When the outbox
is full the oldest message is given up, counted and logged. What came of each attempt goes to the ledger, from
which the outbox gets back, after a restart, what it had not delivered.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from fac_stream.alerts.ledger import Found, Ledger, Standing, State
from fac_stream.alerts.message import Attempt, Message, Outcome, Receiver, Send
from fac_stream.config_hooks import Hook

log = structlog.get_logger(__name__)

MAX_PENDING = 1000
MAX_PAUSE_S = 3600.0
PARALLEL = 4

Count = Callable[[str], None]


@dataclass(slots=True)
class _Delivery:
    message: Message
    attempts: int = 0


class Outbox:
    """A queue of messages, and the task that delivers them."""

    def __init__(self, hook: Hook, send: Send, count: Count) -> None:
        self.receiver = Receiver.of(hook)
        self.ledger: Ledger | None = None
        """Where the outcomes go, once there is one."""
        self._hook = hook
        self._send = send
        self._count = count
        self._known: set[str] = set()
        self._due: list[tuple[float, int, _Delivery]] = []
        self._held: dict[str, _Delivery] = {}
        """By the message that each waits for; never more than there are of those."""
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._in_flight = 0
        self._gone = False
        self._who = f"{hook.kind} {hook.label}"

    @property
    def pending(self) -> int:
        """Messages not yet delivered or given up."""
        return len(self._due) + len(self._held) + self._in_flight

    @property
    def problem(self) -> str | None:
        """What is wrong with the receiver, in words; None where nothing is known to be."""
        if self._gone:
            return f"{self._who}: answered 410 Gone: change or remove it, or run fac alerts replay"
        waiting = sum(delivery.attempts > 0 for _, _, delivery in self._due)
        return f"{self._who}: {waiting} alerts could not be delivered yet" if waiting else None

    def put(self, message: Message) -> None:
        """Queue a message that the ledger has as pending; one that is known, or not for it, is ignored."""
        if self.receiver.wants(message):
            self._take(_Delivery(message), due=time.monotonic())

    def on_found(self, found: Found) -> None:
        """Take over what the disk has for this receiver."""
        if self._gone and not found.gone:
            log.info("a receiver is tried again", hook=self._who)
        self._gone = found.gone
        for it in found.pending:
            # A clock that jumped makes a retry early, or late by the longest pause.
            pause_s = min(max(it.due - time.time(), 0.0), MAX_PAUSE_S)
            self._take(_Delivery(it.message, it.attempts), due=time.monotonic() + pause_s)

    async def run(self) -> None:
        """Deliver for ever, a few at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._deliver())

    async def drain(self) -> None:
        """Wait until nothing is due now; what waits for a retry is not waited for."""
        while self._in_flight or (self._due and self._due[0][0] <= time.monotonic()):
            self._settled.clear()
            await self._settled.wait()

    async def _deliver(self) -> None:
        while True:
            delivery = await self._next()
            self._in_flight += 1
            try:
                delivery.attempts += 1
                attempt = await self._send(delivery.message)
                self._settle(delivery, attempt)
            finally:
                self._in_flight -= 1
                self._settled.set()

    async def _next(self) -> _Delivery:
        while True:
            wait_s = self._due[0][0] - time.monotonic() if self._due else None
            if wait_s is not None and wait_s <= 0:
                return heapq.heappop(self._due)[2]
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _settle(self, delivery: _Delivery, attempt: Attempt) -> None:
        about = {
            "hook": self._who,
            "webhook_id": delivery.message.message_id,
            "attempt": delivery.attempts,
            "detail": attempt.detail,
        }
        if attempt.outcome is Outcome.DELIVERED:
            self._count("delivered")
            self._note(delivery, "delivered", attempt.detail)
            log.info("alert delivered", **about)
        elif attempt.outcome is Outcome.GONE:
            self._gone = True
            if self.ledger:
                self.ledger.note_gone(self.receiver)
            log.error("a receiver is gone: nothing more is sent to it", hook=self._who)
            self._give_up(delivery, attempt.detail)
            while self._due:
                self._give_up(self._pop_oldest(), attempt.detail)
        elif attempt.outcome is Outcome.REFUSED or delivery.attempts >= self._hook.max_attempts:
            self._give_up(delivery, attempt.detail)
        else:
            pause_s = self._pause_s(delivery.attempts, attempt.retry_after_s)
            self._count("retried")
            self._note(delivery, "pending", attempt.detail, due=time.time() + pause_s)
            log.warning("alert not delivered, will be tried again", pause_s=round(pause_s, 1), **about)
            self._put(delivery, due=time.monotonic() + pause_s)

    def _pause_s(self, attempts: int, retry_after_s: float | None) -> float:
        pause_s = min(self._hook.first_retry_s * 2.0 ** (attempts - 1), MAX_PAUSE_S)
        jittered = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing
        return max(jittered, retry_after_s or 0.0)

    def _take(self, delivery: _Delivery, due: float) -> None:
        if delivery.message.message_id in self._known:
            return
        if len(self._due) >= MAX_PENDING:
            self._give_up(self._pop_oldest(), "the outbox is full")
        raised = f"{delivery.message.alert_id}.raised"
        if delivery.message.type == "alert.resolved" and raised in self._known:
            self._known.add(delivery.message.message_id)
            self._held[raised] = delivery
            return
        self._put(delivery, due)

    def _put(self, delivery: _Delivery, due: float) -> None:
        if self._gone:
            self._give_up(delivery, "the receiver is gone")
            return
        self._known.add(delivery.message.message_id)
        heapq.heappush(self._due, (due, next(self._order), delivery))
        self._changed.set()

    def _pop_oldest(self) -> _Delivery:
        oldest = min(self._due, key=lambda entry: entry[1])
        self._due.remove(oldest)
        heapq.heapify(self._due)
        return oldest[2]

    def _give_up(self, delivery: _Delivery, why: str) -> None:
        self._count("given_up")
        self._note(delivery, "dead", why)
        log.error("alert given up", hook=self._who, webhook_id=delivery.message.message_id, why=why)

    def _note(self, delivery: _Delivery, state: State, detail: str, due: float = 0.0) -> None:
        message_id = delivery.message.message_id
        if self.ledger:
            self.ledger.note(self.receiver, Standing(message_id, state, delivery.attempts, due, detail))
        if state != "pending":
            self._known.discard(message_id)
            if held := self._held.pop(message_id, None):
                self._put(held, due=time.monotonic())
