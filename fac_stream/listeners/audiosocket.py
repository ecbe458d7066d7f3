"""Asterisk's AudioSocket: every TCP connection is a call.

::

    accepted ──UUID──► wanted? ──audio──► Session ──► the call
        │                │ no
        └── too slow ────┴──► hung up, in the protocol's own words

Bytes are parsed in ``data_received``, without a task in between; what has to wait is done by a task of each
connection.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import UUID

import aiohttp
import structlog
from pydantic import JsonValue
from pydantic_core import from_json

from fac_stream.calls.intake import Intake, Session
from fac_stream.config_systems import AudioSocket
from fac_stream.errors import ConflictError, FacError, ProtocolError, RefusedError, SourceError
from fac_stream.listeners.door import Door, cannot_listen, joined
from fac_stream.protocols.audiosocket import HANGUP, Announced, AudioSocketStream, Broken, Message
from fac_stream.protocols.dialogue import Finish, Media, Start
from fac_stream.protocols.metadata import fitting

log = structlog.get_logger(__name__)

UUID_TIMEOUT_S = 5.0
"""Asterisk sends it at once."""
AUDIO_TIMEOUT_S = 30.0
LOOKUP_TIMEOUT_S = 3.0
MAX_LOOKUP_BYTES = 64 * 1024


class AudioSocketListener:
    """The port, and who may bring a call to it.

    Args:
        settings: ``listeners.audiosocket``.
        intake: where calls are admitted.
    """

    def __init__(self, settings: AudioSocket, intake: Intake) -> None:
        self.settings = settings
        self.intake = intake
        self.address: str | None = None
        """Host and port, once it listens."""
        self.problem: str | None = None
        """Why calls are turned away that should not be, in words."""
        self._door = Door("audiosocket", settings)
        self._http: aiohttp.ClientSession | None = None
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until cancelled; the calls that are going on are ended by who runs them.

        Raises:
            FacError: the port cannot be listened on.
        """
        host, port = self.settings.host, self.settings.port
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as self._http, asyncio.TaskGroup() as self._group:
            try:
                server = await loop.create_server(lambda: Connection(self), host, port)
            except OSError as error:
                raise cannot_listen("audiosocket", host, port, error.strerror) from None
            self.address = joined(*server.sockets[0].getsockname()[:2])
            log.info("listening for AudioSocket", address=self.address)
            try:
                await asyncio.Event().wait()
            finally:
                # Not waited for: its connections end with their tasks, which end after this.
                server.close()

    def accept(self, connection: "Connection", address: str) -> bool:
        """Whether a machine may bring a call; if so, the connection is served from now on."""
        if self._group is None or not self._door.enter(address):
            return False
        self._group.create_task(self._serve(connection, address))
        return True

    async def _serve(self, connection: "Connection", address: str) -> None:
        """One connection from its UUID to its end; its errors end it and no other."""
        try:
            with self._door.waiting():
                session = await self._begin(connection)
            await session.ended()
        except (ProtocolError, ConflictError, RefusedError, SourceError) as error:
            log.warning("call refused", listener="audiosocket", address=address, detail=str(error))
        except Exception:
            log.exception("connection failed", listener="audiosocket", address=address)
        finally:
            connection.hang_up()
            self._door.leave(address)

    async def _begin(self, connection: "Connection") -> Session:
        """From the UUID to the first audio."""
        try:
            async with asyncio.timeout(UUID_TIMEOUT_S):
                uuid = await connection.announced
        except TimeoutError:
            raise ProtocolError(f"no UUID came within {UUID_TIMEOUT_S:g} s") from None
        connection.admit(await self._ask(uuid))
        try:
            async with asyncio.timeout(AUDIO_TIMEOUT_S):
                return await connection.opened
        except TimeoutError:
            raise ProtocolError(f"no audio came within {AUDIO_TIMEOUT_S:g} s of the UUID") from None

    async def _ask(self, uuid: str) -> Mapping[str, JsonValue]:
        """What is said about a UUID that is wanted.

        Raises:
            RefusedError: it is not wanted, or nobody can be asked.
        """
        listed = UUID(uuid) in self.settings.calls
        if listed or not (self.settings.calls or self.settings.lookup_url):
            return {}
        if self.settings.lookup_url is None:
            raise RefusedError(f"UUID {uuid} is not among listeners.audiosocket.calls")
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                status, body = await self._look_up(self.settings.lookup_url, uuid)
        except (TimeoutError, aiohttp.ClientError) as error:
            self.problem = f"lookup_url does not answer ({type(error).__name__}): calls are turned away"
            raise RefusedError(self.problem) from None
        if status >= 500:
            self.problem = f"lookup_url answers with status {status}: calls are turned away"
            raise RefusedError(self.problem)
        self.problem = None
        if not 200 <= status < 300:
            raise RefusedError(f"UUID {uuid} is unknown to lookup_url, which answers with status {status}")
        return _metadata(body)

    async def _look_up(self, url: str, uuid: str) -> tuple[int, bytes]:
        if self._http is None:
            raise RefusedError("the daemon is stopping")
        async with self._http.get(url, params={"uuid": uuid}, allow_redirects=False) as answer:
            body = await answer.content.read(MAX_LOOKUP_BYTES)
            return answer.status, body


class Connection(asyncio.Protocol):
    """One call's connection, as the event loop sees it."""

    announced: asyncio.Future[str]
    """The call's UUID."""
    opened: asyncio.Future[Session]
    """The call, once its audio begins."""

    def __init__(self, listener: AudioSocketListener) -> None:
        self._listener = listener
        self._stream = AudioSocketStream(listener.settings.rates, listener.settings.leg)
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._metadata: Mapping[str, JsonValue] | None = None
        self._early: list[Message | FacError] = []
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        loop = asyncio.get_running_loop()
        self.announced, self.opened = loop.create_future(), loop.create_future()
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        address = str((transport.get_extra_info("peername") or [""])[0])  # empty: gone already
        if not self._listener.accept(self, address):
            self.hang_up()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._over:
            self._take(self._stream.receive(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, which ends a call as properly as the packet that says so, or broken."""
        if exc and not self._over:
            self._lose(f"the connection broke: {exc}")
        elif not self._over:
            self._take(self._stream.receive_end())
        reason = SourceError("the connection was closed before any audio came")
        _settle(self.announced, reason)
        _settle(self.opened, reason)

    def admit(self, metadata: Mapping[str, JsonValue]) -> None:
        """The call is wanted: its audio may begin."""
        self._metadata = metadata
        for message in self._early:
            self._carry_out(message)
        self._early.clear()
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def hang_up(self) -> None:
        """End the connection from this side; nothing, where it has ended."""
        self._over = True
        if self._transport and not self._transport.is_closing():
            self._transport.write(HANGUP)
            self._transport.close()

    def _take(self, messages: Iterable[Message]) -> None:
        try:
            for message in messages:
                self._carry_out(message)
        except ProtocolError as error:
            self._carry_out(error)

    def _carry_out(self, message: Message | FacError) -> None:
        if self.announced.done() and self._metadata is None:
            self._early.append(message)
            return
        try:
            match message:
                case Announced():
                    self._announce(message)
                case Start():
                    self._start(message)
                case Media() if self._session:
                    self._session.push_nowait(message)
                case Finish() if self._session:
                    self._session.end()
                case Broken():
                    self._lose(f"Asterisk reports error {message.code or '(none)'}")
                case FacError():
                    self._fail(message)
        except FacError as error:
            self._fail(error)

    def _announce(self, message: Announced) -> None:
        """Read no more while somebody is asked whether the call is wanted."""
        if self._transport:
            self._transport.pause_reading()
        self.announced.set_result(message.uuid)

    def _start(self, message: Start) -> None:
        start = Start(message.format, message.call_id, {**(self._metadata or {})})
        self._session = self._listener.intake.open("audiosocket", start)
        _settle(self.opened, self._session)

    def _fail(self, error: FacError) -> None:
        self._over = True
        if self._session:
            self._session.fail(error)
        _settle(self.announced, error)
        _settle(self.opened, error)

    def _lose(self, reason: str) -> None:
        self._over = True
        if self._session:
            self._session.lose(reason)
        _settle(self.announced, SourceError(reason))
        _settle(self.opened, SourceError(reason))


def _settle(future: asyncio.Future[Any], outcome: Session | Exception) -> None:
    """The first outcome counts; one that nobody waits for any more is no error."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()
    else:
        future.set_result(outcome)


def _metadata(body: bytes) -> dict[str, JsonValue]:
    """The answer's JSON object; nothing, where it is none: the call was taken all the same."""
    try:
        fields = from_json(body, allow_inf_nan=False)
    except ValueError:
        return {}
    return fitting(fields) if isinstance(fields, dict) else {}
