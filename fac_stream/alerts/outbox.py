"""Alert deliveries that are still to be made, to one receiver, in memory.

Each message is tried until it is delivered, refused for good or out of attempts; the pause doubles from
``first_retry_s``, with jitter. Messages that wait for their next attempt do not hold up others. When the
outbox is full the oldest message is given up, counted and logged. What it holds is lost at the process's end.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from fac_stream.alerts.webhook import Attempt, Message, Outcome
from fac_stream.config import Webhook
from fac_stream.events import AlertRaised, AlertResolved, AnyEvent

log = structlog.get_logger(__name__)

MAX_PENDING = 1000
MAX_PAUSE_S = 3600.0
PARALLEL = 4

Send = Callable[[Message], Awaitable[Attempt]]
Count = Callable[[str], None]


@dataclass(slots=True)
class _Delivery:
    message: Message
    attempts: int = 0


class Outbox:
    """A bus listener that queues alerts, and the task that delivers them."""

    def __init__(self, hook: Webhook, send: Send, count: Count) -> None:
        self._hook = hook
        self._send = send
        self._count = count
        self._due: list[tuple[float, int, _Delivery]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._in_flight = 0
        self._gone = False
        # The path of a webhook is often its password: only the host is ever shown.
        self._host = urlsplit(hook.url).hostname

    @property
    def pending(self) -> int:
        """Messages not yet delivered or given up."""
        return len(self._due) + self._in_flight

    @property
    def problem(self) -> str | None:
        """What is wrong with the receiver, in words; None where nothing is known to be."""
        if self._gone:
            return f"webhook {self._host}: answered 410 Gone, nothing is sent to it until the daemon restarts"
        waiting = sum(delivery.attempts > 0 for _, _, delivery in self._due)
        return f"webhook {self._host}: {waiting} alerts could not be delivered yet" if waiting else None

    def on_event(self, event: AnyEvent) -> None:
        """Queue an alert; other events are ignored."""
        if isinstance(event, AlertRaised | AlertResolved):
            if len(self._due) >= MAX_PENDING:
                self._give_up(self._pop_oldest(), "the outbox is full")
            self._put(_Delivery(Message.of(event)), due=time.monotonic())

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
            "webhook_id": delivery.message.message_id,
            "attempt": delivery.attempts,
            "detail": attempt.detail,
        }
        if attempt.outcome is Outcome.DELIVERED:
            self._count("delivered")
            log.info("alert delivered", **about)
        elif attempt.outcome is Outcome.GONE:
            self._gone = True
            log.error("webhook receiver is gone: nothing more is sent to it", host=self._host)
            self._give_up(delivery, attempt.detail)
            while self._due:
                self._give_up(self._pop_oldest(), attempt.detail)
        elif delivery.attempts >= self._hook.max_attempts:
            self._give_up(delivery, attempt.detail)
        else:
            pause_s = self._pause_s(delivery.attempts, attempt.retry_after_s)
            self._count("retried")
            log.warning("alert not delivered, will be tried again", pause_s=round(pause_s, 1), **about)
            self._put(delivery, due=time.monotonic() + pause_s)

    def _pause_s(self, attempts: int, retry_after_s: float | None) -> float:
        pause_s = min(self._hook.first_retry_s * 2.0 ** (attempts - 1), MAX_PAUSE_S)
        jittered = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing
        return max(jittered, retry_after_s or 0.0)

    def _put(self, delivery: _Delivery, due: float) -> None:
        if self._gone:
            self._give_up(delivery, "the receiver is gone")
            return
        heapq.heappush(self._due, (due, next(self._order), delivery))
        self._changed.set()

    def _pop_oldest(self) -> _Delivery:
        oldest = min(self._due, key=lambda entry: entry[1])
        self._due.remove(oldest)
        heapq.heapify(self._due)
        return oldest[2]

    def _give_up(self, delivery: _Delivery, why: str) -> None:
        self._count("given_up")
        log.error("alert given up", host=self._host, webhook_id=delivery.message.message_id, why=why)
