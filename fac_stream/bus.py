"""In-process publish/subscribe: everything downstream of a call starts here.

Publishing never waits. Listeners (metrics, alerts, history) are plain functions called in order;
subscriptions are bounded mailboxes that a socket's own task empties. A mailbox that fills has its scores
thinned out: only the latest of each leg stays, and the oldest of those goes when even that is too many.
Decisions, alerts, starts and ends are never dropped: when they alone overflow, the subscription ends with
:class:`SlowSubscriberError`.

All of it belongs to the event loop's thread.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar, cast

import structlog

from fac_stream.errors import SlowSubscriberError
from fac_stream.events import AnyEvent, Event, WindowScored

log = structlog.get_logger(__name__)

Listener = Callable[[AnyEvent], None]
E = TypeVar("E", bound=Event)


class Subscription:
    """One subscriber's mailbox; a context manager, and iterated by one task.

    Cancelling the iteration is safe: an event is taken out only when it is handed over.
    """

    def __init__(
        self, bus: "Bus", max_events: int, types: frozenset[str] | None, call_id: str | None
    ) -> None:
        self.coalesced = 0
        """Scores that were thinned out before they were read."""
        self._bus = bus
        self._max_events = max_events
        self._types = types
        self._call_id = call_id
        self._queue: OrderedDict[int, AnyEvent] = OrderedDict()
        self._scores: OrderedDict[int, tuple[str | None, str | None]] = OrderedDict()  # slot: call, leg
        self._thin_above = max_events // 4  # scores
        self._next_slot = 0
        self._ready = asyncio.Event()
        self._closed = False
        self._overflowed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyEvent:
        """The next event.

        Raises:
            SlowSubscriberError: events that must not be dropped no longer fit; the subscriber starts over.
        """
        while not self._queue and not self._closed:
            self._ready.clear()
            await self._ready.wait()
        if self._overflowed:
            raise SlowSubscriberError(
                f"more than {self._max_events} events were waiting: read faster, or ask for fewer events"
            )
        if not self._queue:
            raise StopAsyncIteration
        return self._take(next(iter(self._queue)))

    def wants(self, event: AnyEvent) -> bool:
        """Whether the filters let this event through."""
        return (self._types is None or event.type in self._types) and (
            self._call_id is None or event.call_id == self._call_id
        )

    def offer(self, event: AnyEvent) -> None:
        """Put an event into the mailbox, past the filters; never waits."""
        if self._closed:
            return
        if isinstance(event, WindowScored):
            self._scores[self._next_slot] = (event.call_id, event.leg)
        self._queue[self._next_slot] = event
        self._next_slot += 1
        if len(self._scores) > self._thin_above or len(self._queue) > self._max_events:
            self._thin()
        self._ready.set()

    def close(self) -> None:
        """Receive nothing more; what waits can still be read. Calling it twice does nothing."""
        self._closed = True
        self._bus.forget(self)
        self._ready.set()

    def _thin(self) -> None:
        """Keep the latest score of each leg, and fewer where that is still too much."""
        latest = {leg: slot for slot, leg in self._scores.items()}
        for slot in [slot for slot, leg in self._scores.items() if latest[leg] != slot]:
            self._drop(slot)
        # Thinning takes time in proportion to what waits: not again before as much has come anew.
        self._thin_above = max(self._max_events // 4, 2 * len(self._scores))
        while len(self._queue) > self._max_events and self._scores:
            self._drop(next(iter(self._scores)))
        if len(self._queue) > self._max_events:
            self._overflowed = True
            self._queue.clear()
            self.close()

    def _drop(self, slot: int) -> None:
        self._take(slot)
        self.coalesced += 1

    def _take(self, slot: int) -> AnyEvent:
        self._scores.pop(slot, None)
        return self._queue.pop(slot)


class Bus:
    """Numbers events and hands them to listeners and subscriptions."""

    def __init__(self) -> None:
        self.seq = 0
        """Number of the last event that was published."""
        self._listeners: list[Listener] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._undelivered: deque[AnyEvent] = deque()
        self._delivering = False

    @property
    def subscribers(self) -> int:
        """Open subscriptions."""
        return len(self._subscriptions)

    def publish(self, event: E) -> E:
        """Give the event its ``seq`` and ``time``, deliver it and return it; never waits."""
        self.seq += 1
        published = event.model_copy(update={"seq": self.seq, "time": datetime.now(UTC)})
        self._undelivered.append(cast("AnyEvent", published))
        if not self._delivering:
            self._deliver_all()
        return published

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every event from now on.

        It must not block. It may publish: that event is delivered after the one at hand, so that everybody
        sees the order of ``seq``. Its exceptions are logged and reach neither publisher nor other listeners.
        """
        self._listeners.append(listener)

    def subscribe(
        self, *, max_events: int, types: frozenset[str] | None = None, call_id: str | None = None
    ) -> Subscription:
        """A mailbox for events from now on; None filters nothing."""
        subscription = Subscription(self, max_events, types, call_id)
        self._subscriptions[subscription] = None
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Deliver nothing more to ``subscription``."""
        self._subscriptions.pop(subscription, None)

    def close(self) -> None:
        """End every subscription; what waits in them can still be read."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def _deliver_all(self) -> None:
        self._delivering = True
        try:
            while self._undelivered:
                self._deliver(self._undelivered.popleft())
        finally:
            self._delivering = False

    def _deliver(self, event: AnyEvent) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("event listener failed", listener=repr(listener), event_type=event.type)
        for subscription in list(self._subscriptions):
            if subscription.wants(event):
                subscription.offer(event)
