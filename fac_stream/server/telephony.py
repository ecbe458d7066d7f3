"""Telephone platforms on WebSockets: one shell for every protocol.

::

    request ──authorise──► upgrade ──► socket ⇄ Dialogue ⇄ Session (the call)

A platform that cannot send our token proves itself in its own way: by a signature that its ``authorise``
checks, by a custom parameter of the call, or by the last part of the address.
"""

import asyncio
import hmac
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import structlog
from aiohttp import ClientWebSocketResponse, WebSocketError, WSMsgType, web

from fac_stream.calls.intake import Session
from fac_stream.errors import ConflictError, FacError, ProtocolError, RefusedError
from fac_stream.events import AnyEvent, CallEnded, EndReason
from fac_stream.protocols.dialogue import (
    Dialogue,
    Finish,
    Hangup,
    Media,
    Message,
    Refusal,
    Reply,
    Send,
    Start,
)
from fac_stream.server.auth import GUARD
from fac_stream.server.basic import password
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services
from fac_stream.server.sockets import GONE, Close, finished, registered, serve, upgrade

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 5.0
EVENTS_WAITING = 256
"""Events of its own call that a platform may be behind; older ones are dropped."""

_REFUSALS = {
    EndReason.PROTOCOL_ERROR: Refusal.PROTOCOL_ERROR,
    EndReason.IDLE: Refusal.IDLE,
    EndReason.TOO_LONG: Refusal.TOO_LONG,
    EndReason.SHUTDOWN: Refusal.STOPPING,
    EndReason.FAILED: Refusal.FAILED,
}


class Platform(Protocol):
    """What differs from one platform to the next, outside its wire format."""

    @property
    def name(self) -> str:
        """Kind of source in events: ``twilio``."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Addresses; for platforms that cannot send the token, also with ``/{token}`` behind each."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The ones it may ask for; empty where none is looked at."""

    @property
    def sends_token(self) -> bool:
        """Whether it can send the daemon's token as a header, so that the guard asks for it."""

    def authorise(self, request: web.Request) -> bool:
        """Whether the request proved by a configured secret that the platform sent it; False: none is set.

        Raises:
            ApiError: a secret is set, and the proof is missing or wrong.
        """

    def dialogue(self, request: web.Request) -> Dialogue:
        """A fresh parser for one connection."""


class Telephony:
    """All connections of one platform."""

    def __init__(self, services: Services, platform: Platform) -> None:
        self._services = services
        self._platform = platform
        self._handlers: set[asyncio.Task[Any]] = set()
        self._connections: dict[asyncio.Task[Any], Connection] = {}

    def routes(self) -> list[web.RouteDef]:
        """GET on every path of the platform, with and without the token behind it."""
        endings = ("",) if self._platform.sends_token else ("", "/{token}")
        return [web.get(path + end, self.handle) for path in self._platform.paths for end in endings]

    @property
    def proving(self) -> list[str]:
        """Routes that the guard leaves to the platform's own proof."""
        return [] if self._platform.sends_token else [route.path for route in self.routes()]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, from its handshake to its end."""
        proven = self._platform.authorise(request) or self._proves(request)
        limits = self._services.config.ingest
        if self._services.scorer is None:
            raise ApiError(503, "model_not_loaded", "no model is loaded", retry_after_s=60)
        # Who has not begun a call yet holds no place among the calls, but is not free either.
        if len(self._handlers) >= 2 * limits.max_calls:
            raise ApiError(503, "full", "too many connections are open", retry_after_s=10)
        # Those who have proven nothing must not keep those out who have.
        unproven = sum(connection.unproven for connection in self._connections.values())
        if not proven and unproven >= limits.max_calls:
            raise ApiError(503, "full", "too many connections without a call are open", retry_after_s=10)
        with registered(self._handlers) as handler:
            socket = await upgrade(
                request,
                max_message_bytes=limits.max_message_bytes,
                heartbeat_s=None,
                protocols=self._platform.subprotocols,
            )
            dialogue = self._platform.dialogue(request)
            token = None if proven else self._services.config.server.token
            expected = token.get_secret_value() if token else None
            connection = Connection(self._services, socket, self._platform.name, dialogue, expected)
            self._connections[handler] = connection
            try:
                await serve(request, socket, connection.run())
            finally:
                del self._connections[handler]
            return socket

    async def stop(self) -> None:
        """End the connections that have no call yet, wait for the others: their calls have been ended."""
        for handler, connection in self._connections.items():
            if not connection.has_call:
                handler.cancel()
        await finished(self._handlers)

    def _proves(self, request: web.Request) -> bool:
        """Whether the request carries the daemon's token: in a header, as a password, or behind its path."""
        if request.app[GUARD].trusts(request):
            return True
        token = self._services.config.server.token
        given = (request.match_info.get("token"), password(request))
        return token is not None and any(same(text, token.get_secret_value()) for text in given if text)


class Connection:
    """One socket, what is said on it, and the call it brings.

    Args:
        services: the daemon's parts.
        socket: a server's or a client's, open.
        kind: of the source.
        dialogue: the wire format.
        token: what ``Start.token`` must be, or None where nothing is left to prove.
    """

    def __init__(
        self,
        services: Services,
        socket: web.WebSocketResponse | ClientWebSocketResponse,
        kind: str,
        dialogue: Dialogue,
        token: str | None,
    ) -> None:
        self._services = services
        self._socket = socket
        self._kind = kind
        self._dialogue = dialogue
        self._token = token
        self._session: Session | None = None
        self._finished = False
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue(EVENTS_WAITING)

    @property
    def has_call(self) -> bool:
        """Whether a call has begun."""
        return self._session is not None

    @property
    def unproven(self) -> bool:
        """Whether the token is still to come, with the call."""
        return self._token is not None and self._session is None

    async def run(self) -> Close:
        """Serve until either side ends."""
        try:
            return await self._converse()
        except (ProtocolError, ConflictError, RefusedError) as error:
            if self._session:
                self._session.fail(error)
                await self._session.ended()
            return await self._refuse(_refusal(error), str(error))
        except (TimeoutError, ConnectionError):
            return GONE
        finally:
            # Whatever happened, a call that is not complete waits for its peer to return.
            if not self._finished:
                self._lose("the connection ended before the call was complete")

    async def _converse(self) -> Close:
        """Read and answer until the first of: the peer is done, the socket is gone, the call is over."""
        # A platform that connects and says nothing has no call that could be idle.
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._session is None:
                    end = await self._step()
                    if end is not None:
                        return end
        except TimeoutError:
            raise ProtocolError(f"no call began within {START_TIMEOUT_S:g} s") from None
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(self._session.ended())
            answering = group.create_task(_outcome(self._answer()))
            reading = group.create_task(_outcome(self._read()))
            await asyncio.wait({ended, answering, reading}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                # What happened up to the end of the call is still told.
                self._hear(None)
                await asyncio.wait({answering})
            for task in (ended, answering, reading):
                task.cancel()
        for task in (reading, answering):
            found = None if task.cancelled() else task.result()
            if isinstance(found, Exception):
                raise found
            if found is not None:
                return found
        return await self._farewell(ended.result())

    async def _read(self) -> Close | None:
        """Read until the socket ends, also while the tail of a call is scored: so pings are answered."""
        while not self._finished:
            end = await self._step()
            if end is not None:
                return end
        while (message := await self._socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            pass
        return Close(1000, "") if message.type is WSMsgType.CLOSE else GONE

    async def _step(self) -> Close | None:
        """One message of the socket; how the connection ended, if it did."""
        message = await self._socket.receive()
        match message.type:
            case WSMsgType.TEXT:
                return await self._carry_out(self._dialogue.receive_text(message.data))
            case WSMsgType.BINARY:
                return await self._carry_out(self._dialogue.receive_bytes(message.data))
            case WSMsgType.CLOSE:
                await self._carry_out(self._dialogue.receive_close())
                return Close(1000, "")
            case WSMsgType.ERROR if isinstance(message.data, WebSocketError):
                raise ProtocolError(f"broken WebSocket message: {message.data}")
            case _:
                return GONE

    async def _carry_out(self, messages: Sequence[Message]) -> Close | None:
        for message in messages:
            match message:
                case Start():
                    await self._start(message)
                case Media():
                    if self._session is None:
                        raise ProtocolError("audio came before the call began")
                    await self._session.push(message)
                case Finish():
                    self._finished = True
                    if self._session:
                        self._session.end()
                case Send() | Hangup():
                    end = await self._say([message])
                    if end is not None:
                        return end
        return None

    async def _start(self, start: Start) -> None:
        if self._session is not None:
            raise ProtocolError("a second call began on the same connection")
        if self._token is not None and not same(start.token or "", self._token):
            raise UnprovenError("the token is missing or wrong: see your platform's page in docs/connect")
        await self._services.intake.vacated(start.call_id)
        self._session = self._services.intake.open(self._kind, start)
        self._session.listen(self._hear)
        await self._say(self._dialogue.admitted(self._session.call_id))

    def _hear(self, event: AnyEvent | None) -> None:
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    async def _answer(self) -> Close | None:
        """Tell of the call's events until there are no more; how the dialogue ended it, if it did."""
        while (event := await self._events.get()) is not None:
            end = await self._say(self._dialogue.event(event))
            if end is not None:
                return end
        return None

    async def _farewell(self, ended: CallEnded | None) -> Close:
        if ended is None:
            return await self._refuse(Refusal.STOPPING, "the daemon is stopping; call again later")
        if ended.reason in _REFUSALS:
            return await self._refuse(_REFUSALS[ended.reason], ended.detail or ended.reason.value)
        return await self._say(self._dialogue.ended(ended.reason)) or Close(1000, "ended")

    async def _refuse(self, refusal: Refusal, reason: str) -> Close:
        log.warning("call refused", platform=self._kind, code=refusal.value, detail=reason)
        self._services.metrics.on_refusal(refusal.value)
        try:
            return await self._say(self._dialogue.refused(refusal, reason)) or Close(1011, reason)
        except (TimeoutError, ConnectionError):
            return GONE

    async def _say(self, replies: Sequence[Reply]) -> Close | None:
        for reply in replies:
            if isinstance(reply, Hangup):
                return Close(reply.code, reply.reason)
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if isinstance(reply.data, str):
                    await self._socket.send_str(reply.data)
                else:
                    await self._socket.send_bytes(reply.data)
        return None

    def _lose(self, reason: str) -> None:
        if self._session:
            self._session.lose(reason)


async def _outcome(step: Coroutine[Any, Any, Close | None]) -> Close | Exception | None:
    """What a step gives, or the error that ends the connection: a task group would end by it, too."""
    try:
        return await step
    except (FacError, TimeoutError, ConnectionError) as error:
        return error


class UnprovenError(RefusedError):
    """The call did not carry the daemon's token."""


def same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())


def _refusal(error: FacError) -> Refusal:
    match error:
        case UnprovenError():
            return Refusal.UNAUTHORISED
        case RefusedError():
            return Refusal.FULL
        case ConflictError():
            return Refusal.IN_USE
        case _:
            return Refusal.PROTOCOL_ERROR
