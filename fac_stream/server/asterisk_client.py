"""Calls that wait at an Asterisk until we connect: ``Dial(WebSocket/INCOMING/…)`` or ARI's ``INCOMING``.

::

    dialplan ──POST /api/asterisk, the call's connection id──► ws://pbx/media/<id> ⇄ AsteriskStream ⇄ the call

Asterisk makes up an id for each call, and hangs up when its socket closes: a call is connected to once.
Source: https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import structlog
from aiohttp import (
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    TraceConfig,
    WSServerHandshakeError,
    web,
)
from yarl import URL

from fac_stream.errors import SourceError
from fac_stream.protocols.asterisk import SUBPROTOCOL, AsteriskStream
from fac_stream.server.bodies import small
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services
from fac_stream.server.sockets import GONE, finished, registered
from fac_stream.server.telephony import Connection

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 5.0
"""For all attempts together: the dialplan waits meanwhile."""
FIRST_PAUSE_S = 0.1
CLOSE_TIMEOUT_S = 5.0
MAX_PARAMETERS = 32
MAX_BODY_BYTES = 64 * 1024
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class AsteriskCalls:
    """``POST /api/asterisk``: connect to a call that waits."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.config.platforms.asterisk
        self._handlers: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The address."""
        return [web.post("/api/asterisk", self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """Take a form, as the dialplan's ``CURL()`` posts it; answer 202 once connected, then stay on.

        ``connection_id`` says which call; ``call_id`` and ``leg`` are ours, the other fields become metadata.
        """
        if self._settings.media_url is None:
            raise ApiError(404, "not_found", "set platforms.asterisk.media_url to where Asterisk waits")
        if len(self._handlers) >= 2 * self._services.config.ingest.max_calls:
            raise ApiError(503, "full", "too many connections are open", retry_after_s=10)
        async with small(request, MAX_BODY_BYTES) as limited:
            fields = await limited.post()
        form = {name: value for name, value in fields.items() if isinstance(value, str)}
        connection_id = form.pop("connection_id", "")
        if not _ID.fullmatch(connection_id):
            raise ApiError(400, "bad_request", "send connection_id=${MEDIA_WEBSOCKET_CONNECTION_ID}")
        if len(form) > MAX_PARAMETERS:
            raise ApiError(400, "bad_request", f"at most {MAX_PARAMETERS} fields are taken")
        url = f"{self._settings.media_url.rstrip('/')}/{connection_id}"
        with registered(self._handlers):
            try:
                async with _connected(url, self._services.config.ingest.max_message_bytes) as socket:
                    answer = await _answered(request, connection_id)
                    await self._converse(socket, AsteriskStream(form, self._settings.leg))
            except SourceError as error:
                raise ApiError(502, "not_connected", str(error)) from None
            return answer

    async def stop(self) -> None:
        """Wait for the connections, whose calls have been ended."""
        await finished(self._handlers)

    async def _converse(self, socket: ClientWebSocketResponse, dialogue: AsteriskStream) -> None:
        """Talk until either side ends; what nobody expected ends this call and no other."""
        try:
            end = await Connection(self._services, socket, "asterisk", dialogue, None).run()
        except Exception:
            log.exception("connection failed", platform="asterisk")
            return
        if end is not GONE:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await socket.close(code=end.code)


@asynccontextmanager
async def _connected(url: str, max_message_bytes: int) -> AsyncIterator[ClientWebSocketResponse]:
    """A socket to where Asterisk waits, closed afterwards.

    Raises:
        SourceError: nobody is there, no such call waits, or it is said to wait elsewhere.
    """
    shown = URL(url).with_user(None)  # nor a password
    tracing = TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    async with ClientSession(trace_configs=[tracing]) as http:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await _connect(http, url, max_message_bytes)
        except WSServerHandshakeError as error:
            why = {404: "no such call waits there", 409: "the call has a connection already"}
            raise SourceError(f"{shown}: {why.get(error.status, f'status {error.status}')}") from None
        except TimeoutError:
            raise SourceError(f"{shown} cannot be reached within {CONNECT_TIMEOUT_S:g} s") from None
        try:
            yield socket
        finally:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await socket.close()


async def _refuse_redirect(_session: ClientSession, _context: SimpleNamespace, params: Any) -> None:
    """Whoever answers at ``media_url`` does not choose where else the daemon connects to."""
    params.response.close()
    raise SourceError(f"{params.url.with_user(None)}: redirects (status {params.response.status})")


async def _connect(http: ClientSession, url: str, max_message_bytes: int) -> ClientWebSocketResponse:
    """Try until somebody answers, with growing pauses."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await http.ws_connect(url, protocols=(SUBPROTOCOL,), max_msg_size=max_message_bytes)
        except WSServerHandshakeError:
            raise
        except ClientError as error:
            shown = str(URL(url).with_user(None))
            log.warning("cannot connect", platform="asterisk", url=shown, detail=str(error))
        await asyncio.sleep(pause_s)
        pause_s *= 2


async def _answered(request: web.Request, connection_id: str) -> web.Response:
    """Tell who asked that the call is connected, and let it go: the call goes on in this task."""
    answer = web.json_response({"connection_id": connection_id}, status=202)
    # The next request must not wait on the same connection until the call is over.
    answer.force_close()
    await answer.prepare(request)
    await answer.write_eof()
    return answer
