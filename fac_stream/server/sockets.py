"""What both WebSocket endpoints share: the upgrade, and an end that a stuck peer cannot hold up."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from fac_stream.server.access_log import shown
from fac_stream.server.auth import SUBPROTOCOL, subprotocols
from fac_stream.server.failure import ApiError

log = structlog.get_logger(__name__)

WRITE_BUFFER_BYTES = 64 * 1024
CLOSE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 8.0
"""For all connections together, of which each may need ``CLOSE_TIMEOUT_S``."""


@dataclass(frozen=True, slots=True)
class Close:
    """How a connection ends."""

    code: int
    """RFC 6455, section 7.4; 4000 and up are ours."""
    reason: str


GONE = Close(1006, "")
"""The peer is gone already: nothing can be sent."""


async def upgrade(
    request: web.Request,
    *,
    max_message_bytes: int,
    heartbeat_s: float | None,
    protocols: Sequence[str] = (SUBPROTOCOL,),
) -> web.WebSocketResponse:
    """Turn a request into a WebSocket.

    No compression: a small message could unpack into a huge one. Every send waits while more than
    ``WRITE_BUFFER_BYTES`` are unsent, so a peer that stops reading is noticed by its sender.

    Raises:
        ApiError: the request is no WebSocket handshake.
    """
    offered = subprotocols(request)
    if offered and protocols and not set(protocols) & set(offered):
        raise ApiError(400, "bad_subprotocol", f"offer the subprotocol {protocols[0]}, or none")
    socket = web.WebSocketResponse(
        protocols=protocols,
        heartbeat=heartbeat_s,
        compress=False,
        max_msg_size=max_message_bytes,
        writer_limit=0,
        timeout=CLOSE_TIMEOUT_S,
    )
    if not socket.can_prepare(request):
        raise ApiError(400, "not_a_websocket", "this address speaks WebSocket only")
    await socket.prepare(request)
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
    return socket


@contextmanager
def registered(handlers: set[asyncio.Task[Any]]) -> Iterator[asyncio.Task[Any]]:
    """Count the task that handles a connection among ``handlers`` while the block runs."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("connections are handled by tasks")
    handlers.add(task)
    try:
        yield task
    finally:
        handlers.discard(task)


async def finished(handlers: set[asyncio.Task[Any]]) -> None:
    """Wait for handlers that were told to end; not for ever."""
    if handlers:
        await asyncio.wait(handlers, timeout=STOP_TIMEOUT_S)


async def serve(request: web.Request, socket: web.WebSocketResponse, run: Awaitable[Close]) -> None:
    """Run a connection to its end and close it; an error that nobody expected is logged and ends it, too."""
    try:
        end = await run
    except Exception:
        log.exception("connection failed", path=shown(request))
        end = Close(1011, "internal error; the daemon's log has the details")
    await _close(request, socket, end)


async def _close(request: web.Request, socket: web.WebSocketResponse, end: Close) -> None:
    try:
        if end is not GONE:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                # A control frame holds 125 bytes, two of them the code.
                await socket.close(code=end.code, message=_cut(end.reason, 123))
    except (TimeoutError, ConnectionError):
        pass
    finally:
        # What could not be written by now never will be; closing would wait for it.
        transport = request.transport
        if transport is not None and transport.get_write_buffer_size() > 0:
            transport.abort()


def _cut(text: str, size: int) -> bytes:
    return text.encode()[:size].decode(errors="ignore").encode()
