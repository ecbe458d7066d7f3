"""Which flags of quality hold for a leg, not only for a window."""

from collections import Counter
from collections.abc import Iterable


class UsualQuality:
    """Counts the flags of scored windows; one window in a hundred leaves the range on the best of lines."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._windows = 0

    def add(self, flags: Iterable[str]) -> None:
        """Take in the flags of one scored window."""
        self._counts.update(flags)
        self._windows += 1

    @property
    def flags(self) -> list[str]:
        """Those of at least half of the windows, by name."""
        return sorted(flag for flag, count in self._counts.items() if 2 * count >= self._windows)
