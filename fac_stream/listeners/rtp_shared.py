"""One UDP port for everybody: each sender's address and SSRC is a call of its own.

Such a call ends when nothing has come for ``ingest.idle_timeout_s``: RTP has no goodbye.
"""

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding
from fac_stream.calls.intake import Intake, Session
from fac_stream.config_systems import Rtp
from fac_stream.errors import ConfigError, ProtocolError, RefusedError
from fac_stream.events import CallEnded, EndReason
from fac_stream.listeners.delivery import Push, deliver
from fac_stream.listeners.door import Door, crowd
from fac_stream.listeners.rtp_port import accepted
from fac_stream.listeners.udp import UdpSocket, bind
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.protocols.rtp import Packet
from fac_stream.protocols.rtp_source import Arrival, Probation
from fac_stream.protocols.rtp_stream import RtpStream
from fac_stream.protocols.sdp import codec_of

LEG = "mixed"
REFUSED_S = 10.0
"""Seconds before a sender that was turned away, or whose call failed, is considered again."""
MAX_REFUSED = 1024

Sender = tuple[tuple[str, int], int]
"""Address and SSRC."""
Follow = Callable[[Session, Callable[[CallEnded | None], None]], None]


@dataclass(frozen=True, slots=True)
class _Line:
    """One sender's call."""

    stream: RtpStream
    push: Push

    def deliver(self, media: list[Media]) -> None:
        for piece in media:
            self.push(piece)


class SharedPort:
    """Listens from the moment it is made until it is closed."""

    def __init__(self, settings: Rtp, intake: Intake, follow: Follow) -> None:
        """For ``settings.port``; ``follow`` calls back when a call is over.

        Raises:
            FacError: the port is taken.
            ConfigError: a codec of ``settings.codecs`` cannot be decoded.
        """
        self._settings = settings
        self._door = Door("rtp", settings)
        self._intake = intake
        self._follow = follow
        self._codecs = shared_codecs(settings)
        self._probation = Probation()
        self._lines: dict[Sender, _Line] = {}
        self._refused: OrderedDict[Sender, float] = OrderedDict()
        bound = bind(settings.host, settings.port)
        self.address = f"{settings.host}:{bound.getsockname()[1]}"
        self._udp = UdpSocket(bound, self._receive)

    def advance(self, now: float) -> None:
        """Time passed: hand out what waited long enough."""
        for line in list(self._lines.values()):
            line.deliver(line.stream.advance(now))

    def close(self) -> None:
        """Listen no more."""
        self._udp.close()

    def _receive(self, data: bytes, address: tuple[str, int]) -> None:
        packet = accepted(data, address[0], self._settings)
        if packet is None:
            return
        now = time.monotonic()
        sender = address, packet.ssrc
        line = self._lines.get(sender)
        if line is not None:
            line.deliver(line.stream.receive(packet, now))
        elif not self._is_refused(sender, now):
            self._consider(sender, self._probation.admit(packet, address, now), now)

    def _consider(self, sender: Sender, arrivals: list[Arrival], now: float) -> None:
        heard = next((a.packet for a in arrivals if a.packet.payload_type in self._codecs), None)
        if not heard:
            return
        line = self._open(sender, heard, now)
        if line is not None:
            for arrival in arrivals:
                line.deliver(line.stream.receive(arrival.packet, arrival.at))

    def _open(self, sender: Sender, packet: Packet, now: float) -> _Line | None:
        (host, port), ssrc = sender
        codec = self._codecs[packet.payload_type]
        # Whatever a sender turns to in the middle of a call fits into this format.
        fmt = AudioFormat(SAMPLE_RATE, Encoding.PCM_S16LE, (LEG,))
        start = Start(
            format=fmt,
            call_id=f"rtp-{ssrc:08x}-{uuid.uuid4().hex[:8]}",
            metadata={
                "remote": f"{host}:{port}",
                "ssrc": f"{ssrc:08x}",
                "codec": f"{codec.name}/{codec.clock_rate}",
            },
        )
        try:
            self._check_crowd(host)
            session = self._intake.open("rtp", start, resumable=False)
        except RefusedError as error:
            self._door.turn_away(host, str(error))
            self._refuse(sender, now)
            return None
        self._follow(session, lambda ended: self._forget(sender, ended))
        least_s, most_s = self._settings.jitter_ms / 1000, self._settings.max_jitter_ms / 1000
        line = _Line(RtpStream(self._codecs, fmt, LEG, least_s, most_s), deliver(session))
        self._lines[sender] = line
        return line

    def _check_crowd(self, host: str) -> None:
        calls = sum(address[0] == host for address, _ in self._lines)
        if calls >= self._settings.max_per_host:
            raise RefusedError(crowd("rtp", calls))

    def _forget(self, sender: Sender, ended: CallEnded | None) -> None:
        self._lines.pop(sender, None)
        if ended is not None and ended.reason is not EndReason.IDLE:
            self._refuse(sender, time.monotonic())

    def _refuse(self, sender: Sender, now: float) -> None:
        self._refused[sender] = now + REFUSED_S
        if len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)

    def _is_refused(self, sender: Sender, now: float) -> bool:
        if now < self._refused.get(sender, now):
            return True
        self._refused.pop(sender, None)
        return False


def shared_codecs(settings: Rtp) -> dict[int, Codec]:
    """Payload types that senders who announce nothing may use.

    Raises:
        ConfigError: a configured codec cannot be decoded.
    """
    codecs = {number: codec for number, codec in STATIC.items() if codec.decodable}
    for number, text in settings.codecs.items():
        try:
            codec = codec_of(text)
        except ProtocolError as error:
            raise ConfigError(f"listeners.rtp.codecs.{number}: {error}") from None
        if not codec.decodable:
            raise ConfigError(
                f"listeners.rtp.codecs.{number}: {text!r} cannot be decoded; "
                "PCMU/8000, PCMA/8000, G722/8000, L16/<rate> and opus/48000/2 can"
            )
        codecs[number] = codec
    return codecs
