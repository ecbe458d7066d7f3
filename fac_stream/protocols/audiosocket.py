"""Asterisk's AudioSocket: packets of type, length and payload over TCP. Asterisk connects.

::

    01 0010 <16 bytes>      the call's UUID; comes first
    10 … 18 <length> <PCM>  16-bit little-endian mono; the type says the rate
    03 0001 <digit>         a key was pressed
    ff <length> <code>      something failed in Asterisk
    00 0000                 the end; closing the socket means the same

Lengths are big-endian. Source: https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/
No I/O: bytes go in, messages come out, and whatever breaks the format is a ``ProtocolError``.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Finish, Media, Start
from fac_stream.protocols.untimed import PAUSE_S, UntimedAudio

END, UUID, ERROR = 0x00, 0x01, 0xFF
HUNG_UP = b"\x01"
"""The error code that is none; 02: a frame could not be forwarded; 04: no memory. Source:
https://pkg.go.dev/github.com/CyCoreSystems/audiosocket"""
AUDIO = range(0x10, 0x20)
"""Types that carry audio or may carry it in future."""
RATES: Mapping[int, int] = {
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
"""Type → Hertz, as documented; some Asterisk builds meant 16 kHz by 0x11."""
HANGUP = bytes(3)
"""The packet that ends the connection, in either direction."""
HEADER = 3
STRETCH_S = 10.0
TOLERANCE = 0.04
"""Of a rate; the nearest two are 8 % apart."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The call's UUID; whether it is wanted is to be decided before its audio is taken."""

    uuid: str
    """Lower case, 8-4-4-4-12."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Asterisk reports an error of its own: nothing more will come."""

    code: str
    """Hexadecimal; empty where Asterisk gives none."""


class ArrivalCheck:
    """Does audio arrive at another rate than its type says? Asterisk sends as it is spoken, never ahead.

    A stretch without pauses tells; two in a row must tell the same, as one may begin with what a stalled
    network had held back.

    Args:
        kind: the type of audio packet, for the message.
        sample_rate: what it is taken for, Hertz.
        now: the clock, seconds.
    """

    def __init__(self, kind: int, sample_rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._kind = kind
        self._rate = sample_rate
        self._now = now
        self._suspect: int | None = None
        self._last_at = self._began_at = now()
        self._samples = 0

    def add(self, samples: int) -> None:
        """Count samples that arrive now.

        Raises:
            ProtocolError: they are of another rate beyond doubt.
        """
        now = self._now()
        interval_s, self._last_at = now - self._last_at, now
        if interval_s > PAUSE_S:
            self._began_at, self._samples = now, 0
            return
        self._samples += samples
        elapsed_s = now - self._began_at
        if elapsed_s < STRETCH_S:
            return
        measured = self._samples / elapsed_s
        self._began_at, self._samples = now, 0
        fits = {rate for rate in RATES.values() if abs(measured / rate - 1) <= TOLERANCE}
        suspect = next(iter(fits - {self._rate}), None)
        if suspect is not None and suspect == self._suspect:
            raise ProtocolError(
                f"audio of type 0x{self._kind:02x} arrives at {suspect} samples a second, not {self._rate}: "
                f"set listeners.audiosocket.rates to {{0x{self._kind:02x}: {suspect}}}"
            )
        self._suspect = suspect


Message = Announced | Start | Media | Finish | Broken


class AudioSocketStream:
    """One connection's state. Raises only ``ProtocolError``, after which it must not be used again.

    ``Announced`` comes first, ``Start`` with the first audio. Where the bytes are cut makes no difference;
    packets that arrive together leave as one ``Media``. Holds one packet, and what ``UntimedAudio`` holds.

    Args:
        rates: type → Hertz, where it differs from ``RATES``.
        leg: name of the only leg.
        now: the clock, seconds.
    """

    def __init__(
        self,
        rates: Mapping[int, int] | None = None,
        leg: str = "mixed",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = {**RATES, **(rates or {})}
        self._leg = leg
        self._now = now
        self._pending = bytearray()
        self._uuid: str | None = None
        self._kind: int | None = None
        self._audio: UntimedAudio | None = None
        self._arrival: ArrivalCheck | None = None
        self._over = False

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes as they arrive, to be iterated to the end; what follows the end of the call is ignored.

        Raises:
            ProtocolError: the peer speaks something else, or its audio cannot be read; all messages that came
                before that are given first.
        """
        if self._over:
            return
        self._pending += data
        audio: list[bytes] = []
        position = 0
        while not self._over and len(self._pending) - position >= HEADER:
            kind = self._pending[position]
            length = int.from_bytes(self._pending[position + 1 : position + HEADER])
            if kind != self._kind or length % 2:
                yield from self._flush(audio)
            self._check(kind, length)
            end = position + HEADER + length
            if end > len(self._pending):
                break
            payload = bytes(self._pending[position + HEADER : end])
            position = end
            if kind in AUDIO:
                yield from self._start(kind)
                audio.append(payload)
            else:
                yield from self._control(kind, payload)
        del self._pending[:position]
        yield from self._flush(audio)

    def receive_end(self) -> list[Message]:
        """The peer closed the connection: the rest, and ``Finish`` where a call had begun.

        Raises:
            ProtocolError: it closed inside a packet.
        """
        if self._over:
            return []
        self._over = True
        if self._pending:
            raise ProtocolError(f"the connection ends inside a packet, {len(self._pending)} bytes into it")
        return self._finish()

    def _check(self, kind: int, length: int) -> None:
        """Refuse by the header alone, before its payload is waited for."""
        if self._uuid is None and (kind, length) not in {(UUID, 16), (END, 0)}:
            raise ProtocolError(
                f"this is no AudioSocket: its first packet is type 0x01 with 16 bytes, "
                f"not 0x{kind:02x} with {length}"
            )
        if self._uuid is not None and kind == UUID:
            raise ProtocolError("the UUID came twice")
        if kind in AUDIO and length % 2:
            raise ProtocolError(f"an audio packet of {length} bytes ends inside a 16-bit sample")

    def _start(self, kind: int) -> list[Message]:
        if kind == self._kind:
            return []
        if self._kind is not None:
            raise ProtocolError(f"the audio changed from type 0x{self._kind:02x} to 0x{kind:02x}")
        if kind not in self._rates:
            raise ProtocolError(
                f"audio of type 0x{kind:02x} has no known rate: name it in listeners.audiosocket.rates"
            )
        self._kind = kind
        fmt = AudioFormat(self._rates[kind], Encoding.PCM_S16LE, (self._leg,))
        self._audio = UntimedAudio(fmt.sample_rate, fmt.frame_width, self._now)
        self._arrival = ArrivalCheck(kind, fmt.sample_rate, self._now)
        return [Start(fmt, call_id=self._uuid)]

    def _control(self, kind: int, payload: bytes) -> list[Message]:
        if kind == UUID:
            self._uuid = str(uuid.UUID(bytes=payload))
            return [Announced(self._uuid)]
        if kind in {END, ERROR}:
            self._over = True
            return self._finish() if kind == END or payload == HUNG_UP else [Broken(payload[:8].hex())]
        return []  # keys, and whatever later versions may add

    def _flush(self, audio: list[bytes]) -> list[Message]:
        """Pass on the packets that arrived together."""
        if not audio or self._audio is None or self._arrival is None:
            return []
        data = b"".join(audio)
        audio.clear()
        self._arrival.add(len(data) // 2)
        return [*self._audio.push(data)]

    def _finish(self) -> list[Message]:
        return [*self._audio.end(), Finish()] if self._audio else []
