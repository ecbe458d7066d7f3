"""The SIPREC port: SIP over UDP and TCP in, calls out.

::

    datagram ────────────────► allowed? ──► RecordingServer ──► Invitation, Change ──► SiprecCall, its ports
    connection ──► SipStream ─► │ no: 403        │ Transmit                                │
                                                 ◄────────────── accept, refuse, hang_up ◄─┘
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterable, Sequence
from typing import cast

import structlog

from fac_stream.calls.intake import Intake
from fac_stream.config_systems import Siprec
from fac_stream.errors import ConflictError, FacError, ProtocolError, RefusedError
from fac_stream.listeners.door import Door, cannot_listen, crowd, joined
from fac_stream.listeners.rtp import RtpListener
from fac_stream.listeners.siprec_call import SiprecCall
from fac_stream.listeners.udp import UdpSocket, bind
from fac_stream.protocols import sip
from fac_stream.protocols.sip import Request, Response, SipStream
from fac_stream.protocols.sip_transactions import Peer, Transmit
from fac_stream.protocols.siprec import Change, Ended, Invitation, Output, RecordingServer
from fac_stream.protocols.siprec_requests import BUSY

log = structlog.get_logger(__name__)

TICK_S = 0.1
"""How often it is looked what is due."""
RETRY_S = 10
"""Seconds after which a client may come again that found no room."""
MAX_CONNECTIONS = 256
MAX_STRANGERS = 16
"""Connections of peers that will only be told so."""
IDLE_S = 600.0
"""A connection without a call may say nothing for so long."""
STRANGER_S = 5.0
MAX_UNSENT_BYTES = 256 * 1024
"""Of answers that a connection does not take."""
BIND_TRIES = 10
ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class SiprecListener:
    """The recording server.

    Args:
        settings: ``listeners.siprec``.
        intake: where calls are admitted.
        rtp: where their media comes in.
    """

    def __init__(self, settings: Siprec, intake: Intake, rtp: RtpListener) -> None:
        self.address: str | None = None
        """Host and port, of UDP and of TCP, once it listens."""
        self.problem: str | None = None
        """Why calls are turned away that should not be, in words."""
        self._settings = settings
        self._intake = intake
        self._rtp = rtp
        self._calls: dict[str, SiprecCall] = {}
        self._udp: socket.socket | None = None
        self._server = RecordingServer("")
        self._connections: dict[int, Connection] = {}
        self._numbers = itertools.count(1)
        self._group: asyncio.TaskGroup | None = None
        self._door = Door("siprec", settings)

    async def run(self) -> None:
        """Serve until cancelled; clients are then told that their calls are over.

        Raises:
            FacError: the port cannot be listened on.
        """
        host, reached = self._settings.host, self._settings.advertise or self._settings.host
        tcp, udp = await self._bind()
        port = udp.getsockname()[1]
        self._server = RecordingServer(joined(self._rtp.advertised if reached in ANY else reached, port))
        self._udp = udp
        reader = UdpSocket(udp, self._datagram)
        self.address = joined(host, port)
        log.info("listening for SIPREC", address=self.address)
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    await asyncio.sleep(TICK_S)
                    now = time.monotonic()
                    self._carry_out(self._server.tick(now))
                    self._close_idle(now)
        finally:
            self._group = None
            self._stop()
            reader.close()
            tcp.close()

    def connected(self, connection: "Connection") -> int | None:
        """A number for a new connection; None where there are too many."""
        like = [other for other in self._connections.values() if other.stranger == connection.stranger]
        if len(like) >= (MAX_STRANGERS if connection.stranger else MAX_CONNECTIONS):
            self._door.turn_away(connection.host, "too many connections are open")
            return None
        number = next(self._numbers)
        self._connections[number] = connection
        return number

    def disconnected(self, number: int) -> None:
        """A connection is gone; its calls go on: their clients may come back on another."""
        self._connections.pop(number, None)

    def allows(self, host: str) -> bool:
        """Whether a peer may bring calls."""
        return self._settings.allows(host)

    def receive(self, message: Request | Response, peer: Peer) -> bool:
        """Take a message; False where its sender may not connect."""
        now = time.monotonic()
        if not self._settings.allows(peer.host):
            told = self._door.turn_away(peer.host, "see listeners.siprec.allow")
            # A datagram's sender may be forged: whom it names must not be flooded with answers.
            if peer.transport == "tcp" or told:
                self._send(self._server.forbid(message, peer, now))
            return False
        self._carry_out(self._server.receive(message, peer, now))
        return True

    def _datagram(self, data: bytes, address: tuple[str, int]) -> None:
        peer = Peer("udp", *address)
        try:
            message = sip.parse(data)
        except ProtocolError as error:
            if self.allows(peer.host):
                log.warning("broken datagram", listener="siprec", address=peer.host, detail=str(error))
            return
        if message:
            self.receive(message, peer)

    def _carry_out(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Transmit():
                    self._send([output])
                case Invitation():
                    self._invited(output)
                case Change():
                    self._changed(output)
                case Ended():
                    self._ended(output)

    def _invited(self, invitation: Invitation) -> None:
        name, now = invitation.dialog, time.monotonic()
        try:
            self._check_crowd(invitation.host)
            call = SiprecCall(invitation, self._settings.agents, self._intake, self._rtp)
        except (ConflictError, RefusedError) as error:
            log.warning("call refused", listener="siprec", sip_call_id=invitation.call_id, detail=str(error))
            self._send(self._server.refuse(name, BUSY, str(error), retry_s=RETRY_S))
            return
        self._calls[name] = call
        if self._group:
            self._group.create_task(self._follow(name, call))
        self._send(self._server.accept(name, call.answer, now))

    def _check_crowd(self, host: str) -> None:
        calls = sum(call.host == host for call in self._calls.values())
        if calls >= self._settings.max_per_host:
            raise RefusedError(crowd("siprec", calls))

    def _changed(self, change: Change) -> None:
        call = self._calls.get(change.dialog)
        if call is None:
            return
        try:
            call.change(change)
        except RefusedError as error:
            log.warning("change refused", listener="siprec", call_id=call.session.call_id, detail=str(error))
            self._send(self._server.refuse(change.dialog, BUSY, str(error), retry_s=RETRY_S))
            return
        answer = call.answer if change.offer is not None else None
        self._send(self._server.accept(change.dialog, answer, time.monotonic()))

    def _ended(self, ended: Ended) -> None:
        call = self._calls.pop(ended.dialog, None)
        if call is None:
            return
        call.close()
        if ended.lost:
            call.session.lose(ended.lost)
        else:
            call.session.end()

    async def _follow(self, name: str, call: SiprecCall) -> None:
        """Tell the client when its call is over without its doing: idle, too long, failed."""
        ended = await call.session.ended()
        if self._calls.pop(name, None) is None:
            return
        call.close()
        why = (ended.detail or ended.reason.value) if ended else "the daemon is stopping"
        self._send(self._server.hang_up(name, why, time.monotonic()))

    def _send(self, transmits: Iterable[Transmit]) -> None:
        for transmit in transmits:
            peer = transmit.peer
            if peer.transport == "tcp":
                if connection := self._connections.get(peer.connection):
                    connection.send(transmit.data)
            elif self._udp:
                try:
                    self._udp.sendto(transmit.data, (peer.host, peer.port))
                except OSError as error:
                    # As good as lost on the way: who waits for it asks again.
                    log.warning("cannot send", listener="siprec", address=peer.host, detail=str(error))

    def _close_idle(self, now: float) -> None:
        peers = {peer.connection for peer in self._server.peers}
        for number, connection in list(self._connections.items()):
            limit_s = STRANGER_S if connection.stranger else IDLE_S
            if number not in peers and now - connection.heard_at > limit_s:
                connection.close()

    def _stop(self) -> None:
        now = time.monotonic()
        for name, call in self._calls.items():
            call.close()
            self._send(self._server.hang_up(name, "the daemon is stopping", now))
        self._calls.clear()
        for connection in list(self._connections.values()):
            connection.close()

    async def _bind(self) -> tuple[asyncio.Server, socket.socket]:
        """The same port of TCP and UDP; where any will do, one that is free in both."""
        host, loop = self._settings.host, asyncio.get_running_loop()
        for tries_left in reversed(range(1 if self._settings.port else BIND_TRIES)):
            try:
                server = await loop.create_server(lambda: Connection(self), host or None, self._settings.port)
            except OSError as error:
                raise cannot_listen("siprec", host, self._settings.port, error.strerror) from None
            number = server.sockets[0].getsockname()[1]
            try:
                return server, bind(host, number)
            except FacError as error:
                server.close()
                if not tries_left:
                    raise cannot_listen("siprec", host, number, str(error)) from None
        raise AssertionError


class Connection(asyncio.Protocol):
    """A TCP connection, as the event loop sees it; raises nothing."""

    def __init__(self, listener: SiprecListener) -> None:
        self.heard_at = time.monotonic()
        self.host = ""
        self.stranger = False
        """Whether it is of a peer that may bring no calls."""
        self._listener = listener
        self._stream = SipStream()
        self._transport: asyncio.Transport | None = None
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        self._transport = stream = cast(asyncio.Transport, transport)  # uvloop's say so by what they can
        self.host, port = (stream.get_extra_info("peername") or ("", 0))[:2]
        self.stranger = not self._listener.allows(self.host)
        number = self._listener.connected(self)
        if number is None:
            stream.abort()
        else:
            self._peer = Peer("tcp", self.host, port, number)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._peer is None:
            return
        self.heard_at = time.monotonic()
        try:
            for message in self._stream.receive(data):
                if not self._listener.receive(message, self._peer):
                    self.close()
                    return
        except ProtocolError as error:
            log.warning("broken connection", listener="siprec", address=self._peer.host, detail=str(error))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - calls outlive it
        """The connection is closed or broken."""
        self.close()

    def send(self, data: bytes) -> None:
        """Send, unless the peer does not read."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._transport.abort()
        else:
            self._transport.write(data)

    def close(self) -> None:
        """End it; what was said before still goes out."""
        if self._transport:
            self._transport.close()
        if self._peer:
            self._listener.disconnected(self._peer.connection)
            self._peer = None
