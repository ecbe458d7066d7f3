"""A pair of UDP ports for one leg: RTP on the even one, RTCP on the next, where it is heard by nobody.

::

    datagram ──allowed?──► RTP? ──► SourceLock ──► RtpStream ──► push
"""

import socket
import time
from dataclasses import asdict

import structlog

from fac_stream.config_systems import Rtp
from fac_stream.errors import ProtocolError
from fac_stream.listeners.delivery import Push
from fac_stream.listeners.udp import UdpSocket
from fac_stream.protocols.dialogue import Media
from fac_stream.protocols.rtp import Packet, is_rtcp, parse
from fac_stream.protocols.rtp_source import SourceLock
from fac_stream.protocols.rtp_stream import RtpStream

log = structlog.get_logger(__name__)


class RtpPort:
    """Receives from the moment it is made until it is closed."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        settings: Rtp,
        stream: RtpStream,
        push: Push,
    ) -> None:
        """For one leg, with the bound sockets of a pair; ``push`` must not raise."""
        self.port: int = sockets[0].getsockname()[1]
        self._settings = settings
        self._push = push
        self._lock = SourceLock()
        self._stream = stream
        self._held = False
        self._ignored = 0
        self.closed = False
        self._sockets = [UdpSocket(sockets[0], self._receive), UdpSocket(sockets[1], _ignore)]

    @property
    def counts(self) -> dict[str, int]:
        """Packets ``received``, ``lost``, ``late``, ``doubled``, ``unknown``, ``foreign`` and ``ignored``.

        Unknown are other payload types and events; foreign those of other senders than the first; ignored
        RTCP, what is no RTP, hosts that may not send, and the time on hold.
        """
        return {
            **asdict(self._stream.counts),
            "unknown": self._stream.unknown,
            "foreign": self._lock.foreign,
            "ignored": self._ignored,
        }

    def hold(self, held: bool) -> None:
        """Ignore what comes, such as music, until the line is taken up again; the time shows as a gap."""
        if held and not self._held:
            self._deliver(self._stream.finish())
        self._held = held

    def change_sender(self) -> None:
        """Who asked for this port says that its audio comes from elsewhere now."""
        self._lock.release()

    def advance(self, now: float) -> None:
        """Time passed: hand out what waited long enough; ``now`` as ``time.monotonic()``."""
        self._deliver(self._stream.advance(now))
        if self._held:
            # A line on hold is neither silent nor idle.
            self._push(Media(b"", self._stream.leg))

    def close(self) -> None:
        """Hand out what is left and give the ports back."""
        if self.closed:
            return
        self.closed = True
        for udp in self._sockets:
            udp.close()
        self._deliver(self._stream.finish())
        log.info("RTP port closed", port=self.port, **self.counts)

    def _receive(self, data: bytes, address: tuple[str, int]) -> None:
        packet = accepted(data, address[0], self._settings)
        if packet is None or self._held:
            self._ignored += 1
            return
        for arrival in self._lock.admit(packet, address, time.monotonic()):
            self._deliver(self._stream.receive(arrival.packet, arrival.at))

    def _deliver(self, media: list[Media]) -> None:
        for piece in media:
            self._push(piece)


def accepted(data: bytes, host: str, settings: Rtp) -> Packet | None:
    """The RTP packet that a datagram is; None for RTCP, anything else, and hosts that may not send."""
    if not settings.allows(host) or is_rtcp(data):
        return None
    try:
        return parse(data)
    except ProtocolError:
        return None


def _ignore(data: bytes, address: tuple[str, int]) -> None:
    """RTCP asks for nothing; were its port closed, some senders would take that for a failure."""
