"""Where decoded packets lie in their stream, by the timestamps that their sender gave them.

A missing packet shows as a hole between one packet's end and the next one's beginning. Short holes are to be
filled and marked as made up; long ones stay: no window crosses them. Packet is compared with packet: a clock
that runs a little fast adds up to no hole.
"""

from dataclasses import dataclass

HOLE_S = 0.015
"""Less than a packet of 20 ms; timestamps in milliseconds, as some formats have, are not finer."""
FILL_S = 0.1
"""Up to here a hole is filled."""
JUMP_S = 30.0
"""Beyond, or backwards, nothing is missing: a new timeline began."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packet's samples go."""

    at: int
    """Index of the first one."""
    fill: int
    """Samples directly before it to make up."""


class Timestamps:
    """One stream's.

    Args:
        sample_rate: Hertz; what stamps and places count.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._next = 0
        self._due: float | None = None

    def place(self, stamp: float | None, samples: int) -> Place:
        """Where ``samples`` go whose first one is stamped so; None where nobody stamped it."""
        hole = 0.0 if stamp is None or self._due is None else stamp - self._due
        shortest = HOLE_S * self._rate
        if -shortest < hole < shortest:
            missing = 0
        elif shortest <= hole < JUMP_S * self._rate:
            missing = round(hole)
        else:
            missing = 1  # enough to keep apart what does not belong together
        at = self._next + missing
        self._next = at + samples
        self._due = None if stamp is None else stamp + samples
        return Place(at, missing if shortest <= missing <= FILL_S * self._rate else 0)
