"""Calls that wait at an Asterisk until we connect: ``Dial(WebSocket/INCOMING/…)`` or ARI's ``INCOMING``.

::

    dialplan ──POST /api/asterisk, the call's connection id──► ws://pbx/media/<id> ⇄ AsteriskStream ⇄ the call

Asterisk makes up an id for each call and hangs up when its socket closes, so a call is connected to once.
Source: https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSServerHandshakeError, web

from fac_stream.config_systems import AsteriskSource
from fac_stream.errors import SourceError
from fac_stream.protocols.asterisk import SUBPROTOCOL, AsteriskStream
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services
from fac_stream.server.sockets import GONE, finished, registered
from fac_stream.server.telephony import Connection

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
MAX_PARAMETERS = 32
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class AsteriskCalls:
    """``POST /api/asterisk``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.config.platforms.asterisk
        self._handlers: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.Request) -> web.Response:
        """Connect to the call that waits under ``connection_id``; a form, as the dialplan's CURL() sends it.

        ``call_id`` and ``leg`` are ours, the other fields become metadata.
        """
        if self._settings.media_url is None:
            raise ApiError(404, "not_found", "set platforms.asterisk.media_url to where Asterisk waits")
        if len(self._handlers) >= 2 * self._services.config.ingest.max_calls:
            raise ApiError(503, "full", "too many connections are open", retry_after_s=10)
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        connection_id = form.pop("connection_id", "")
        if not _ID.fullmatch(connection_id):
            raise ApiError(400, "bad_request", "send connection_id=${MEDIA_WEBSOCKET_CONNECTION_ID}")
        if len(form) > MAX_PARAMETERS:
            raise ApiError(400, "bad_request", f"at most {MAX_PARAMETERS} fields are taken")
        url = f"{self._settings.media_url.rstrip('/')}/{connection_id}"
        dialogue = AsteriskStream(form, self._settings.leg)
        with registered(self._handlers):
            try:
                async with connected(url, self._services) as socket:
                    answer = await _answered(request, connection_id)
                    await converse(self._services, socket, dialogue)
            except SourceError as error:
                raise ApiError(502, "not_connected", str(error)) from None
            return answer

    async def stop(self) -> None:
        """Wait for the calls, which have been ended."""
        await finished(self._handlers)


class AsteriskCaller:
    """One address of the configuration where call after call waits for us.

    Args:
        settings: the source.
        services: the daemon's parts.
    """

    def __init__(self, settings: AsteriskSource, services: Services) -> None:
        self.name = f"asterisk {settings.url}"
        self.problem: str | None = "starting"
        """Why it is not connected, in words; None while it is."""
        self._settings = settings
        self._services = services

    async def run(self) -> None:
        """Connect again and again, with growing pauses while that fails; until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with connected(self._settings.url, self._services) as socket:
                    self.problem = None
                    pause_s = FIRST_PAUSE_S
                    await converse(self._services, socket, self._dialogue())
                self.problem = "the last call has ended; waiting for the next"
            except SourceError as error:
                if str(error) != self.problem:
                    log.warning("source is not running", source=self.name, problem=str(error))
                self.problem = str(error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _dialogue(self) -> AsteriskStream:
        call_id = self._settings.call_id
        return AsteriskStream({"call_id": call_id} if call_id else {}, self._settings.leg)


@asynccontextmanager
async def connected(url: str, services: Services) -> AsyncIterator[ClientWebSocketResponse]:
    """A socket to where Asterisk waits, closed afterwards.

    Raises:
        SourceError: nobody is there, or no call waits.
    """
    async with ClientSession() as http:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await http.ws_connect(
                    url, protocols=(SUBPROTOCOL,), max_msg_size=services.config.ingest.max_message_bytes
                )
        except WSServerHandshakeError as error:
            why = {404: "no call waits there", 409: "its call has a connection already"}
            raise SourceError(f"{url}: {why.get(error.status, f'status {error.status}')}") from None
        except (ClientError, TimeoutError, OSError) as error:
            raise SourceError(f"{url} cannot be reached: {error or 'no answer'}") from None
        try:
            yield socket
        finally:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await socket.close()
            except (TimeoutError, ConnectionError):
                pass


async def converse(services: Services, socket: ClientWebSocketResponse, dialogue: AsteriskStream) -> None:
    """Talk until either side ends; what nobody expected ends this call and no other."""
    try:
        end = await Connection(services, socket, "asterisk", dialogue, None).run()
        if end is not GONE:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await socket.close(code=end.code, message=end.reason.encode()[:123])
    except (TimeoutError, ConnectionError):
        pass
    except Exception:
        log.exception("connection failed", platform="asterisk")


async def _answered(request: web.Request, connection_id: str) -> web.Response:
    """Tell who asked that the call is connected, and let it go: the call goes on in this task."""
    answer = web.json_response({"connection_id": connection_id}, status=202)
    # The next request must not wait on the same connection until the call is over.
    answer.force_close()
    await answer.prepare(request)
    await answer.write_eof()
    return answer
