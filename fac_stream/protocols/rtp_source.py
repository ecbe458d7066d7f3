"""Which sender's packets are taken: one at a time, and not at the first packet.

::

    stranger ──two packets in a row──► locked ──silent for RELEARN_S──► another port of its host is heard
                                         │ a new SSRC from the same address, two packets in a row
                                         └─► locked on the new SSRC

Another host takes over only where the signalling says so (``release``): a line is also silent while it is on
hold, and who may send to one port may send to all.

Two in a row are RFC 3550's probation (appendix A.1): a stray datagram takes over no call. What came during
the probation is not lost: it is handed out with the packet that ended it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from fac_stream.protocols.rtp import Packet

RELEARN_S = 5.0
"""Seconds of silence after which a sender may have moved to another port."""
MAX_CANDIDATES = 64
Address = tuple[str, int]
"""Host and port."""
MAX_WAITING = 8
"""Packets a candidate; in disorder, two that follow upon each other may come late."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet, and when it came, in seconds."""

    packet: Packet
    at: float


class Probation:
    """Strangers; the oldest are forgotten where there are too many."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[Address, int], list[Arrival]] = OrderedDict()

    def admit(self, packet: Packet, address: Address, now: float) -> list[Arrival]:
        """All packets of this address and SSRC once two of them followed upon each other; else none."""
        stranger = address, packet.ssrc
        waiting = self._waiting.setdefault(stranger, [])
        self._waiting.move_to_end(stranger)
        if len(self._waiting) > MAX_CANDIDATES:
            self._waiting.popitem(last=False)
        proven = any((packet.sequence - other.packet.sequence) & 0xFFFF in (1, 0xFFFF) for other in waiting)
        waiting.append(Arrival(packet, now))
        if proven:
            return self._waiting.pop(stranger)
        del waiting[:-MAX_WAITING]
        return []


class SourceLock:
    """One receiver's choice of sender."""

    def __init__(self) -> None:
        self.foreign = 0
        """Packets of others than the chosen sender."""
        self._probation = Probation()
        self._address: Address | None = None
        self._ssrc: int | None = None
        self._heard_at = 0.0
        self._released = False

    def release(self) -> None:
        """The line's sender changes: the next host that proves to send is taken.

        Until then the old one is heard: what it had under way must not lock out who comes.
        """
        self._released = True

    def admit(self, packet: Packet, address: Address, now: float) -> list[Arrival]:
        """The packets that may be used now that this one came: none, it alone, or it and those before it."""
        if (address, packet.ssrc) == (self._address, self._ssrc):
            self._heard_at = now
            return [Arrival(packet, now)]
        if not self._may_speak(address, now):
            self.foreign += 1
            return []
        proven = self._probation.admit(packet, address, now)
        if proven:
            self._released &= self._address is not None and self._address[0] == address[0]
            self._address, self._ssrc, self._heard_at = address, packet.ssrc, now
        return proven

    def _may_speak(self, address: Address, now: float) -> bool:
        if self._released or self._address in (None, address):
            return True
        return address[0] == self._address[0] and now - self._heard_at >= RELEARN_S
