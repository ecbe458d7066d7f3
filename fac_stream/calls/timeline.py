"""A leg's history of windows in bounded memory."""

from fac_stream.events import TimelinePoint


class Timeline:
    """Keeps at most ``max_points`` points, evenly spaced over everything that was added.

    ::

        stride 1   0 1 2 3 4 5 6 7        full: every second point goes, the stride doubles
        stride 2   0   2   4   6   8 …    from here every second window is kept
    """

    def __init__(self, max_points: int) -> None:
        self._max_points = max_points
        self._stride = 1
        self._added = 0
        self._points: list[TimelinePoint] = []

    def add(self, point: TimelinePoint) -> None:
        """Append the next window."""
        if self._added % self._stride == 0:
            self._points.append(point)
            if len(self._points) > self._max_points:
                self._points = self._points[::2]
                self._stride *= 2
        self._added += 1

    def points(self) -> list[TimelinePoint]:
        """What was kept, oldest first."""
        return list(self._points)
