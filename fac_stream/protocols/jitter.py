"""Packets of one source into the order in which they were sent.

Nothing is played here, so what comes in order leaves at once. Only behind a hole packets wait, each hole for
at most ``patience`` seconds::

    arrives   1 2 4 5     3  6 7
    leaves    1 2 .. .    3 4 5 6 7      3 came within the patience; had it not: 4 5 6 7, one lost before 4

A packet that comes after its hole was given up makes the patience grow by what it was late, up to a limit;
then the patience falls back, to about a third of its surplus every ten seconds. Time is what the caller says.
Sequence numbers and timestamps are counted on without wrapping. A jump of the sequence beyond RFC 3550's
``MAX_DROPOUT`` is believed when a second packet follows upon it (appendix A.1).
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from fac_stream.protocols.rtp import Packet

MAX_DROPOUT = 3000
MAX_MISORDER = 100
MAX_HELD = 512
"""Packets, however short they are."""
RELAX_S = 10.0
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Ordered:
    """A packet in its place."""

    packet: Packet
    timestamp: int
    """Counted on without wrapping."""
    lost: int
    """Packets that are missing directly before it."""
    arrived: float
    """Seconds, as the caller told them."""
    restarted: bool = False
    """The sender began to count anew: the timestamp says nothing about what came before."""


@dataclass(slots=True)
class Counts:
    """What became of the packets."""

    received: int = 0
    lost: int = 0
    late: int = 0
    """Came after their hole was given up: they count as lost, too."""
    doubled: int = 0


class JitterBuffer:
    """One synchronisation source. Holds packets of at most ``most_s`` seconds, for at most as long."""

    def __init__(self, clock_rate: int, least_s: float, most_s: float, counts: Counts | None = None) -> None:
        """For timestamps of ``clock_rate`` Hertz; the patience lies between ``least_s`` and ``most_s``."""
        self.counts = counts or Counts()
        self._least_s, self._most_s = least_s, max(least_s, most_s)
        self._most_ticks = round(self._most_s * clock_rate)
        self._surplus_s = 0.0  # of patience
        self._held: dict[int, Ordered] = {}
        self._next: int | None = None
        self._highest = 0
        self._timestamp = 0
        self._now = 0.0
        self._doubtful: Packet | None = None
        self._given_up: OrderedDict[int, float] = OrderedDict()
        self._restarted = False

    @property
    def patience_s(self) -> float:
        """How long a hole is waited for at present."""
        return min(self._least_s + self._surplus_s, self._most_s)

    @property
    def held(self) -> int:
        """Packets that wait behind a hole."""
        return len(self._held)

    def push(self, packet: Packet, now: float) -> list[Ordered]:
        """Take a packet that arrives ``now``; returns what is in order by that."""
        self.counts.received += 1
        if not self._held and self._next is None:
            self._highest, self._timestamp, self._now = packet.sequence + 0x10000, packet.timestamp, now
        self._relax(now)
        step = (packet.sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000
        if not -MAX_MISORDER <= step < MAX_DROPOUT:
            return self._jump(packet, now)
        self._doubtful = None
        self._take(packet, self._highest + step, now)
        return self._release(now)

    def advance(self, now: float) -> list[Ordered]:
        """Nothing arrived until ``now``: returns what has waited long enough."""
        return self._release(now) if self._held else []

    def flush(self) -> list[Ordered]:
        """Wait no longer: returns everything."""
        ordered: list[Ordered] = []
        while self._held:
            ordered.append(self._skip(self._now))
        return ordered

    def _take(self, packet: Packet, sequence: int, now: float) -> None:
        if self._next is not None and sequence < self._next:
            self._too_late(sequence, now)
        elif sequence in self._held:
            self.counts.doubled += 1
        else:
            self._highest = max(self._highest, sequence)
            step = (packet.timestamp - self._timestamp + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
            timestamp = self._timestamp + step
            if sequence == self._highest:
                self._timestamp = timestamp
            self._held[sequence] = Ordered(packet, timestamp, 0, now)

    def _too_late(self, sequence: int, now: float) -> None:
        since = self._given_up.pop(sequence, None)
        if since is None:
            self.counts.doubled += 1
            return
        self.counts.late += 1
        self._surplus_s = min(max(self._surplus_s, now - since - self._least_s), self._most_s - self._least_s)

    def _relax(self, now: float) -> None:
        self._surplus_s *= math.exp(-max(0.0, now - self._now) / RELAX_S)
        self._now = max(self._now, now)

    def _jump(self, packet: Packet, now: float) -> list[Ordered]:
        doubtful, self._doubtful = self._doubtful, packet
        if doubtful is None or packet.sequence != (doubtful.sequence + 1) & 0xFFFF:
            return []
        ordered = self.flush()
        self._doubtful, self._restarted = None, True
        self._highest, self._timestamp = doubtful.sequence + 0x10000, doubtful.timestamp
        self._next = self._highest
        self._given_up.clear()
        self._take(doubtful, self._highest, now)
        self._take(packet, self._highest + 1, now)
        return ordered + self._release(now)

    def _release(self, now: float) -> list[Ordered]:
        ordered: list[Ordered] = []
        while self._held:
            if self._next is None or self._next not in self._held:
                if not self._is_hopeless(now):
                    break
                ordered.append(self._skip(now))
            else:
                ordered.append(self._leave(self._next, 0))
        return ordered

    def _is_hopeless(self, now: float) -> bool:
        """Whether the hole in front was waited for long enough, or too much waits behind it."""
        waiting = self._held.values()
        stamps = [ordered.timestamp for ordered in waiting]
        return (
            now - min(ordered.arrived for ordered in waiting) >= self.patience_s
            or max(stamps) - min(stamps) > self._most_ticks
            or len(stamps) > MAX_HELD
        )

    def _skip(self, now: float) -> Ordered:
        """Give up the hole in front, where there is one."""
        first = min(self._held)
        if self._next is None:
            return self._leave(first, 0)
        lost = first - self._next
        since = min((ordered.arrived for ordered in self._held.values()), default=now)
        for sequence in range(max(self._next, first - _REMEMBERED), first):
            self._given_up[sequence] = since
        while len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        return self._leave(first, lost)

    def _leave(self, sequence: int, lost: int) -> Ordered:
        held = self._held.pop(sequence)
        self._next = sequence + 1
        self.counts.lost += lost
        restarted, self._restarted = self._restarted, False
        return Ordered(held.packet, held.timestamp, lost, held.arrived, restarted)
