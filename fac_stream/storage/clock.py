"""Whether the clock may be believed where it says that something was kept for long enough.

A machine whose clock runs ahead, as some do until they have asked for the time, would delete all that it has.
So a clock that was set is not believed at once, and one that says that nothing was written for a month has a
day to be put right. One that runs behind deletes too little, and that only until it is put right.
"""

import time

import structlog

log = structlog.get_logger(__name__)

MAX_JUMP_S = 3600.0
"""By how much the clock may run ahead of the time that passed, between one question and the next."""
MAX_GAP_S = 30 * 86_400.0
"""How long nothing may have been written."""
STEADY_S = 86_400.0
"""How long a clock has to go on after such a gap."""


class Clock:
    """The wall clock, as one who deletes by it sees it."""

    def __init__(self) -> None:
        self.begun_at = time.time()
        """Unix seconds, by this very clock: what is later was written since."""
        self._last = self.begun_at, time.monotonic()
        self._doubted_until: float | None = None

    def is_believed(self, newest: float | None) -> bool:
        """Whether what is too old by this clock may go now.

        Args:
            newest: when the newest thing before ``begun_at`` was written, Unix seconds; None where there is
                none.
        """
        before, now = self._last, (time.time(), time.monotonic())
        jump_s = abs(now[0] - before[0] - (now[1] - before[1]))
        if self._doubted_until is None:
            gap_s = 0.0 if newest is None else self.begun_at - newest
            self._doubted_until = now[1] + STEADY_S if gap_s > MAX_GAP_S else now[1]
        if jump_s > MAX_GAP_S:
            self._doubted_until = now[1] + STEADY_S
        self._last = now
        believed = jump_s <= MAX_JUMP_S and now[1] >= self._doubted_until
        if not believed:
            log.warning("the clock was set, or is far ahead: for now nothing is deleted for its age")
        return believed
