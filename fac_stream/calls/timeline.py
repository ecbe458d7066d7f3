"""A leg's history of windows in bounded memory."""

import math
from array import array

from fac_stream.events import Decision, TimelinePoint

DECISIONS = tuple(Decision)
NUMBERS = 4
"""end_s, score, smoothed, speech_s."""


class Timeline:
    """Keeps at most ``max_points`` points, evenly spaced over everything that was added; 33 bytes each.

    ::

        stride 1   0 1 2 3 4 5 6 7        full: every second point goes, the stride doubles
        stride 2   0   2   4   6   8 …    from here every second window is kept
    """

    def __init__(self, max_points: int) -> None:
        self._max_points = max_points
        self._stride = 1
        self._added = 0
        self._numbers = array("d")  # NUMBERS a point; NaN where there is none
        self._decisions = bytearray()  # indices of DECISIONS

    def add(self, point: TimelinePoint) -> None:
        """Append the next window."""
        if self._added % self._stride == 0:
            numbers = (point.end_s, point.score, point.smoothed, point.speech_s)
            self._numbers.extend(math.nan if number is None else number for number in numbers)
            self._decisions.append(DECISIONS.index(point.decision))
            if len(self._decisions) > self._max_points:
                self._thin()
        self._added += 1

    def points(self, most: int | None = None) -> list[TimelinePoint]:
        """What was kept, oldest first; of that, the last ``most``."""
        first = 0 if most is None else max(0, len(self._decisions) - most)
        return [self._point(index) for index in range(first, len(self._decisions))]

    def _point(self, index: int) -> TimelinePoint:
        end_s, score, smoothed, speech_s = self._numbers[NUMBERS * index : NUMBERS * (index + 1)]
        return TimelinePoint(
            end_s=end_s,
            score=None if math.isnan(score) else score,
            smoothed=None if math.isnan(smoothed) else smoothed,
            speech_s=speech_s,
            decision=DECISIONS[self._decisions[index]],
        )

    def _thin(self) -> None:
        kept = range(0, len(self._decisions), 2)
        self._numbers = array("d", (n for i in kept for n in self._numbers[NUMBERS * i : NUMBERS * (i + 1)]))
        self._decisions = self._decisions[::2]
        self._stride *= 2
