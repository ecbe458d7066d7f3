"""``/ws/ingest``: a call comes in.

::

    socket ──► PcmStream ──► FrameQueue ──► the call
           ◄── ready, then one of: ended, error

Two things go on at once: the socket is read, and the call runs. The socket is always read, unless its sender
is ahead of real time and the queue is full; then the sender waits.
"""

import asyncio
import json
from typing import Any

import structlog
from aiohttp import WebSocketError, WSMessage, WSMsgType, web

from fac_stream.calls.call import Call
from fac_stream.errors import ConflictError, FacError, ProtocolError, RefusedError, SourceError
from fac_stream.events import CallEnded, EndReason
from fac_stream.protocols.pcm import Hello, PcmStream
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services
from fac_stream.server.sockets import GONE, Close, finished, registered, serve, upgrade
from fac_stream.sources.websocket import WebSocketSource

log = structlog.get_logger(__name__)

HELLO_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 5.0
CLOCK_GRACE_S = 30.0
"""How much longer than its audio may last a connection may last."""

_ENDS = {
    EndReason.PROTOCOL_ERROR: (4400, "protocol_error"),
    EndReason.IDLE: (4408, "idle"),
    EndReason.TOO_LONG: (4413, "too_long"),
    EndReason.FAILED: (1011, "internal_error"),
}
"""Close codes and words for calls that did not complete; a lost source has nobody left to tell."""


class Ingest:
    """All connections that bring a call."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._handlers: set[asyncio.Task[Any]] = set()
        self._connections: dict[asyncio.Task[Any], Connection] = {}

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /ws/ingest."""
        limits = self._services.config.ingest
        if self._services.scorer is None:
            raise ApiError(503, "model_not_loaded", "no model is loaded", retry_after_s=60)
        # Who has not said hello yet holds no place among the calls, but is not free either.
        if len(self._handlers) >= 2 * limits.max_calls:
            raise ApiError(503, "full", "too many connections are open", retry_after_s=10)
        with registered(self._handlers) as handler:
            # No heartbeat: a sender that is gone is noticed by ingest.idle_timeout_s.
            socket = await upgrade(request, max_message_bytes=limits.max_message_bytes, heartbeat_s=None)
            connection = self._connections[handler] = Connection(self._services, socket)
            try:
                await serve(request, socket, connection.run())
            finally:
                del self._connections[handler]
            return socket

    async def stop(self) -> None:
        """End the calls that are going on, with reason ``shutdown``; their connections say so."""
        for handler, connection in self._connections.items():
            (connection.running or handler).cancel()
        await finished(self._handlers)


class Connection:
    """One socket and the call it brings."""

    def __init__(self, services: Services, socket: web.WebSocketResponse) -> None:
        self.running: asyncio.Task[CallEnded] | None = None
        """The call, once there is one; cancelling it ends the connection with a goodbye."""
        self._services = services
        self._socket = socket
        self._stream = PcmStream()

    async def run(self) -> Close:
        """Serve from the hello to the end of the call."""
        calls = self._services.calls
        try:
            source = WebSocketSource(await self._hello(), self._services.config.ingest)
            call = calls.admit(source)
        except (ProtocolError, ConflictError, RefusedError, SourceError) as error:
            return await self._refuse(error)
        try:
            await self._tell({"type": "ready", "call_id": call.call_id})
            ended = await self._run(call, source)
        except (TimeoutError, ConnectionError):
            return GONE
        finally:
            calls.release(call)
        return await self._finish(ended)

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                message = await self._socket.receive()
        except TimeoutError:
            raise ProtocolError(f"no hello within {HELLO_TIMEOUT_S:g} s") from None
        if message.type is WSMsgType.BINARY:
            self._stream.receive_bytes(message.data)  # says what is wrong with that
        if message.type is not WSMsgType.TEXT:
            raise _lost(message)
        hello = self._stream.receive_text(message.data)
        if not isinstance(hello, Hello):
            raise ProtocolError("the first message must be the hello")
        return hello

    async def _run(self, call: Call, source: WebSocketSource) -> CallEnded | None:
        """Read the socket and run the call until the call is over; None when the daemon stops."""
        longest_s = self._services.config.ingest.max_duration_s + CLOCK_GRACE_S
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read(source))
            running = self.running = group.create_task(self._services.calls.run(call, source))
            # A sender of one sample now and then is neither idle nor ever too long.
            if not (await asyncio.wait([running], timeout=longest_s))[0]:
                source.queue.close(ProtocolError("open for longer than ingest.max_duration_s allows"))
                await asyncio.wait([running])
            reader.cancel()
        return None if running.cancelled() else running.result()

    async def _read(self, source: WebSocketSource) -> None:
        queue = source.queue
        try:
            while True:
                message = await self._socket.receive()
                match message.type:
                    case WSMsgType.BINARY:
                        audio = self._stream.receive_bytes(message.data)
                        if audio is not None:
                            await source.receive(audio)
                    case WSMsgType.TEXT:
                        self._stream.receive_text(message.data)
                        queue.close()
                    case WSMsgType.CLOSE:
                        self._stream.receive_end()
                        break
                    case _:
                        raise _lost(message)
        except (ProtocolError, SourceError) as error:
            queue.close(error)
        else:
            queue.close()

    async def _refuse(self, error: FacError) -> Close:
        match error:
            case ProtocolError():
                code, word = 4400, "protocol_error"
            case ConflictError():
                code, word = 4409, "call_id_in_use"
            case RefusedError():
                code, word = 1013, "full"
            case _:
                return GONE
        log.warning("call refused", code=word, detail=str(error))
        self._services.metrics.on_refusal(word)
        return await self._say_goodbye(code, word, str(error))

    async def _finish(self, ended: CallEnded | None) -> Close:
        if ended is None:
            return await self._say_goodbye(1001, "stopping", "the daemon is stopping; call again later")
        if ended.reason is EndReason.COMPLETED:
            summary = ended.model_dump(mode="json", exclude={"type", "seq", "time", "leg"})
            return await self._say(Close(1000, "ended"), {"type": "ended", **summary})
        if ended.reason not in _ENDS:
            return GONE
        code, word = _ENDS[ended.reason]
        return await self._say_goodbye(code, word, ended.detail or word)

    async def _say_goodbye(self, code: int, word: str, message: str) -> Close:
        return await self._say(Close(code, message), {"type": "error", "code": word, "message": message})

    async def _say(self, end: Close, fields: dict[str, Any]) -> Close:
        """Send the last message, if there is still somebody to hear it."""
        try:
            await self._tell(fields)
        except (TimeoutError, ConnectionError):
            return GONE
        return end

    async def _tell(self, fields: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._socket.send_str(json.dumps(fields))


def _lost(message: WSMessage) -> ProtocolError | SourceError:
    """What a message that is neither text, binary nor close says about the connection."""
    if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
        return ProtocolError(f"broken WebSocket message: {message.data}")
    return SourceError("the connection was lost")
