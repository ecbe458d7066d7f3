"""RTP over UDP: ports by request, and one port for everybody.

::

    open_port ──► RtpPort (a pair of the range) ──► one leg of a call that somebody else opened
    listeners.rtp.port ──► SharedPort ──each address and SSRC──► a call of its own
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping

from fac_stream.audio.codec import PCMA, PCMU, Codec
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding
from fac_stream.calls.intake import Intake, Session
from fac_stream.config_systems import Rtp
from fac_stream.errors import FacError, RefusedError
from fac_stream.events import CallEnded
from fac_stream.listeners.delivery import Push
from fac_stream.listeners.rtp_port import RtpPort
from fac_stream.listeners.rtp_shared import SharedPort
from fac_stream.listeners.udp import bind
from fac_stream.protocols.rtp_stream import RtpStream

TICK_S = 0.1
"""How often ports look whether something has waited long enough."""

OnEnd = Callable[[CallEnded | None], None]


def call_format(legs: Mapping[str, Mapping[int, Codec]]) -> AudioFormat:
    """Rate and encoding in which every codec of every leg fits.

    Args:
        legs: leg → payload type → codec; what cannot be decoded does not count.

    Returns:
        8 kHz in the law of G.711 that all use, else 16 kHz ``pcm_s16le``.
    """
    names = {codec.name for codecs in legs.values() for codec in codecs.values() if codec.decodable}
    if names == {PCMU}:
        return AudioFormat(8_000, Encoding.MULAW, tuple(legs))
    if names == {PCMA}:
        return AudioFormat(8_000, Encoding.ALAW, tuple(legs))
    return AudioFormat(SAMPLE_RATE, Encoding.PCM_S16LE, tuple(legs))


class RtpListener:
    """Every RTP port of the daemon."""

    def __init__(self, settings: Rtp, intake: Intake) -> None:
        self.problem: str | None = None
        self.address: str | None = None
        """Of the one port for everybody, while it listens."""
        self._settings = settings
        self._intake = intake
        self._open: set[RtpPort] = set()
        self._shared: SharedPort | None = None
        first, last = settings.ports
        self._pairs = range(first + first % 2, last, 2)
        self._turn = 0
        self._group: asyncio.TaskGroup | None = None

    @property
    def advertised(self) -> str:
        """Address that senders are told."""
        return self._settings.advertise or self._settings.host

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            FacError: the address is not of this machine, or the port for everybody is taken.
        """
        bind(self._settings.host, 0).close()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                if self._settings.port:
                    self._shared = SharedPort(self._settings, self._intake, self.follow)
                    self.address = self._shared.address
                while True:
                    await asyncio.sleep(TICK_S)
                    self._advance(time.monotonic())
            finally:
                self._group = None
                self._close()

    def open_port(self, codecs: Mapping[int, Codec], leg: str, push: Push, fmt: AudioFormat) -> RtpPort:
        """Take a pair of the range; close it when the call is over.

        Args:
            codecs: payload type → codec; packets of other types are passed over.
            leg: name of the leg that the audio is of.
            push: takes the leg's audio, in ``fmt``; must not raise.
            fmt: the call's, as ``call_format`` chose it.

        Raises:
            RefusedError: every pair is in use.
        """
        for step in range(len(self._pairs)):
            turn = (self._turn + step) % len(self._pairs)
            sockets = self._pair(self._pairs[turn])
            if sockets:
                # The next one takes another: stragglers of this call must not find a new one here.
                self._turn = turn + 1
                least_s, most_s = self._settings.jitter_ms / 1000, self._settings.max_jitter_ms / 1000
                stream = RtpStream(codecs, fmt, leg, least_s, most_s)
                port = RtpPort(sockets, self._settings, stream, push)
                self._open.add(port)
                return port
        first, last = self._settings.ports
        raise RefusedError(f"every port from {first} to {last} is in use: widen listeners.rtp.ports")

    def follow(self, session: Session, on_end: OnEnd) -> None:
        """Call back when a call is over; with None where the daemon stops.

        Raises:
            RefusedError: the daemon is starting or stopping.
        """
        if self._group is None:
            raise RefusedError("the daemon is starting or stopping")
        self._group.create_task(_follow(session, on_end))

    def _pair(self, port: int) -> tuple[socket.socket, socket.socket] | None:
        try:
            rtp = bind(self._settings.host, port)
        except FacError:
            return None
        try:
            return rtp, bind(self._settings.host, port + 1)
        except FacError:
            rtp.close()
            return None

    def _advance(self, now: float) -> None:
        self._open = {port for port in self._open if not port.closed}
        for port in list(self._open):
            port.advance(now)
        if self._shared:
            self._shared.advance(now)

    def _close(self) -> None:
        for port in self._open:
            port.close()
        if self._shared:
            self._shared.close()


async def _follow(session: Session, on_end: OnEnd) -> None:
    on_end(await session.ended())
