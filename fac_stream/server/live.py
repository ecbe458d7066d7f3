"""``/ws/events``: a snapshot, then what happens from there on.

One task a subscriber empties its mailbox on the bus into its socket; a subscriber that reads too slowly
fills only its own mailbox. It ends with code 4008 when events that must not be dropped no longer fit, or when
nothing at all was read for ``SEND_TIMEOUT_S``.
"""

import asyncio
import json
from typing import Any

import structlog
from aiohttp import WSMsgType, web
from multidict import MultiMapping

from fac_stream.bus import Subscription
from fac_stream.errors import SlowSubscriberError
from fac_stream.events import EVENT_TYPES, Snapshot, encode
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services
from fac_stream.server.sockets import GONE, Close, finished, registered, serve, upgrade

log = structlog.get_logger(__name__)

HEARTBEAT_S = 20.0
SEND_TIMEOUT_S = 20.0
MAX_MESSAGE_BYTES = 4096
STOPPING = Close(1001, "the daemon is stopping; reconnect later")


class Live:
    """All subscribers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._handlers: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws/events, with ``?types=a,b`` and ``?call_id=`` as filters."""
        types, call_id = _filters(request.query)
        limits = self._services.config.server
        if len(self._handlers) >= limits.max_subscribers:
            raise ApiError(503, "too_many_subscribers", "server.max_subscribers is reached", retry_after_s=10)
        with registered(self._handlers):
            socket = await upgrade(request, max_message_bytes=MAX_MESSAGE_BYTES, heartbeat_s=HEARTBEAT_S)
            with self._services.bus.subscribe(
                max_events=limits.subscriber_queue, types=types, call_id=call_id
            ) as subscription:
                subscriber = Subscriber(self._services, socket, subscription, call_id)
                await serve(request, socket, subscriber.run())
            return socket

    async def stop(self) -> None:
        """End every subscription once what waits in it is sent."""
        self._services.bus.close()
        await finished(self._handlers)


class Subscriber:
    """One socket and its mailbox."""

    def __init__(
        self,
        services: Services,
        socket: web.WebSocketResponse,
        subscription: Subscription,
        call_id: str | None,
    ) -> None:
        self._services = services
        self._socket = socket
        self._subscription = subscription
        self._call_id = call_id
        self._snapshot_waits = False

    async def run(self) -> Close:
        """Serve until either side ends."""
        self._offer_snapshot()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send()), group.create_task(self._receive())]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        end = done.pop().result()
        log.info("subscriber left", code=end.code, reason=end.reason, coalesced=self._subscription.coalesced)
        return end

    def _offer_snapshot(self) -> None:
        """Queue the state; everything published later comes after it, and is not in it.

        Nothing is awaited between taking the snapshot and queueing it, so no event is lost or comes twice.
        """
        if self._snapshot_waits:
            return
        self._snapshot_waits = True
        snapshot = self._services.calls.snapshot()
        if self._call_id is not None:
            calls = [call for call in snapshot.calls if call.call_id == self._call_id]
            snapshot = snapshot.model_copy(update={"calls": calls})
        self._subscription.offer(snapshot)

    async def _send(self) -> Close:
        try:
            async for event in self._subscription:
                if isinstance(event, Snapshot):
                    self._snapshot_waits = False
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._socket.send_str(encode(event))
        except SlowSubscriberError as error:
            return Close(4008, str(error))
        except TimeoutError:
            return Close(4008, f"nothing was read for {SEND_TIMEOUT_S:g} s")
        except ConnectionError:
            return GONE
        return STOPPING

    async def _receive(self) -> Close:
        """Answer the client's wishes; the heartbeat is what notices a peer that is gone without a word."""
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT:
                break
            if not _asks_for_snapshot(message.data):
                return Close(4400, 'the only message here is {"type": "snapshot"}')
            self._offer_snapshot()
        if message.type is WSMsgType.BINARY:
            return Close(4400, "binary messages belong to /ws/ingest")
        return GONE


def _filters(query: MultiMapping[str]) -> tuple[frozenset[str] | None, str | None]:
    if unknown := set(query) - {"types", "call_id"}:
        raise ApiError(400, "bad_query", f"unknown in the query: {', '.join(sorted(unknown))}"[:200])
    types = frozenset(filter(None, query.get("types", "").split(",")))
    if not types <= set(EVENT_TYPES):
        raise ApiError(400, "bad_query", f"types knows {', '.join(EVENT_TYPES)}")
    return types or None, query.get("call_id") or None


def _asks_for_snapshot(text: str) -> bool:
    try:
        return bool(json.loads(text) == {"type": "snapshot"})
    except (ValueError, RecursionError):
        return False
