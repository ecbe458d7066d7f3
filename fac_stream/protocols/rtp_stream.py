"""One leg's packets to its audio.

::

    Packet ──► JitterBuffer ──in order──► place in time ──► Run ──► Media(at=…)
                                             │ a little lost: concealed, and marked
                                             │ much lost, or silent for long: a gap in ``at``
                                             └ codec, rate or sender changed: a new Run

Where a packet belongs its timestamp says, counted from the last one. Where the sender began to count anew
(another SSRC, clock rate, or a jump that no clock explains), the time of arrival says it.
"""

from collections.abc import Mapping

from fac_stream.audio.codec import Codec
from fac_stream.audio.frames import AudioFormat
from fac_stream.audio.payload import duration
from fac_stream.errors import DecodeError
from fac_stream.protocols.dialogue import Media
from fac_stream.protocols.jitter import Counts, JitterBuffer, Ordered
from fac_stream.protocols.rtp import Packet
from fac_stream.protocols.rtp_run import Run

CONCEAL_S = 0.1
"""Lost audio up to this length is made up."""
SILENCE_S = 1.0
"""Silence up to this length, of senders that send nothing while nobody speaks, is filled in."""
PAUSE_S = 0.2
"""Where the time of arrival decides, less than this is network jitter."""
STRAY_S = 2.0
"""A timestamp may run ahead of the clock by this much; a packet may have waited that long on its way."""
QUIET_S = 0.2
"""Without packets for so long, nothing is collected any further."""


class RtpStream:
    """One leg, of one sender after the other; ``at`` counts its samples from its first packet on."""

    def __init__(
        self, codecs: Mapping[int, Codec], fmt: AudioFormat, leg: str, least_s: float, most_s: float
    ) -> None:
        """For the decodable ``codecs`` by payload type; holes are waited for ``least_s`` to ``most_s``."""
        self.unknown = 0
        """Packets that hold no audio for us: other payload types, events, broken payloads."""
        self.counts = Counts()
        self._codecs = {number: codec for number, codec in codecs.items() if codec.decodable}
        self._fmt = fmt
        self.leg = leg
        self._patience = least_s, most_s
        self._ssrc: int | None = None
        self._jitter: JitterBuffer | None = None
        self._clock_rate = 0
        self._run: Run | None = None
        self._at = 0  # of the next run's first sample
        self._next: int | None = None  # timestamp; None where the sender's do not count on
        self._lost = 0  # packets since the last audio
        self._length_s = 0.0  # of the last packet
        self._arrived: float | None = None

    def receive(self, packet: Packet, now: float) -> list[Media]:
        """Take a packet of the leg's sender that arrives ``now``, in seconds of any clock."""
        media: list[Media] = []
        codec = self._codecs.get(packet.payload_type)
        if packet.ssrc != self._ssrc or (codec and codec.clock_rate != self._clock_rate):
            if not codec:
                self.unknown += 1  # nothing says yet how its timestamps count
                return media
            media = self._finish_source()
            self._ssrc, self._clock_rate = packet.ssrc, codec.clock_rate
            self._jitter = JitterBuffer(codec.clock_rate, *self._patience, counts=self.counts)
        if self._jitter:
            for ordered in self._jitter.push(packet, now):
                media += self._place(ordered)
        return media

    def advance(self, now: float) -> list[Media]:
        """Nothing arrived until ``now``: what has waited long enough."""
        media: list[Media] = []
        if self._jitter and self._jitter.held:
            for ordered in self._jitter.advance(now):
                media += self._place(ordered)
        if self._run and self._arrived is not None and now - self._arrived > QUIET_S:
            media += self._run.collect()
        return media

    def finish(self) -> list[Media]:
        """Everything that is left; a packet may follow, after a gap."""
        media = self._finish_source()
        self._ssrc = None
        return media

    def _finish_source(self) -> list[Media]:
        media: list[Media] = []
        for ordered in self._jitter.flush() if self._jitter else ():
            media += self._place(ordered)
        self._jitter = self._next = None
        return media + self._end_run()

    def _place(self, ordered: Ordered) -> list[Media]:
        codec = self._codecs.get(ordered.packet.payload_type)
        self._lost += ordered.lost
        if ordered.restarted:
            self._next = None
        try:
            ticks = duration(codec, ordered.packet.payload) if codec else 0
        except DecodeError:
            ticks = 0
        if codec is None or not ticks:
            # A hole that its place leaves behind shows in the timestamp of the next packet.
            self.unknown += 1
            return []
        media: list[Media] = []
        if self._run and self._run.codec != codec:
            media += self._end_run()
        missing_s = self._missing_s(ordered, codec)
        if missing_s:
            media += self._fill(missing_s)
        if self._run is None:
            self._run = Run(codec, self._fmt, self.leg, self._at)
        media += self._run.add(ordered.packet.payload, ticks)
        self._next, self._lost = ordered.timestamp + ticks, 0
        self._length_s = ticks / codec.clock_rate
        self._arrived = max(ordered.arrived, self._arrived or ordered.arrived)
        return media

    def _missing_s(self, ordered: Ordered, codec: Codec) -> float:
        """Seconds between the last packet's end and this one's beginning."""
        if self._arrived is None:
            return 0.0
        elapsed_s = max(0.0, ordered.arrived - self._arrived)
        if self._next is not None:
            jump_s = (ordered.timestamp - self._next) / codec.clock_rate
            explained_s = max(elapsed_s + STRAY_S, 2.0 * self._lost * self._length_s)
            if -STRAY_S < jump_s <= explained_s:
                return max(0.0, jump_s)
        pause_s = elapsed_s - self._length_s
        return pause_s if pause_s > PAUSE_S else 0.0

    def _fill(self, missing_s: float) -> list[Media]:
        if self._run and self._lost and missing_s <= CONCEAL_S:
            return self._run.conceal(missing_s)
        if self._run and not self._lost and missing_s <= SILENCE_S:
            return self._run.silence(missing_s)
        media = self._end_run()
        self._at += round(missing_s * self._fmt.sample_rate)
        return media

    def _end_run(self) -> list[Media]:
        if not self._run:
            return []
        media = self._run.finish()
        self._at, self._run = self._run.at, None
        return media
