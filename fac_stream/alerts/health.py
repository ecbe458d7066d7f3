"""Alerts of the daemon about itself: category ``health``, apart from those about voices.

What is wrong is known by who does the work; here somebody looks, at a bounded rate, whether it stays so for
``after_s``, and makes one alert of it, resolved once it was right for as long.
"""

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from fac_stream.alerts.rules import new_id
from fac_stream.config_alerts import HealthAlerts
from fac_stream.daemon_thread import DaemonThread
from fac_stream.events import AlertRaised, AlertResolved, AnyEvent, SkipReason, WindowScored

LATE = frozenset({SkipReason.LATE, SkipReason.OVERLOAD, SkipReason.FAILED})
LATE_WITHIN_S = 60.0
FEWEST_WINDOWS = 20
"""Of fewer windows no share is told."""
DISK_DEADLINE_S = 5.0
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong now."""

    rule: str
    """One of ``config_alerts.HEALTH_RULES``."""
    about: str
    """What it is wrong with, the same as long as it lasts; those about the same are one alert."""
    problem: str
    """In words, and what to do."""


@dataclass(slots=True)
class _Seen:
    since: float
    alert: AlertRaised | None = None
    right_since: float | None = None


class Watch:
    """From troubles to alerts. Pure; times are seconds of a clock that never goes back.

    Args:
        settings: how long a trouble must last, and how severe it is.
        model: name and short hash of the bundle.
        started_at: when the daemon began.
    """

    def __init__(self, settings: HealthAlerts, model: str, started_at: float) -> None:
        self._settings = settings
        self._model = model
        self._started_at = started_at
        self._seen: dict[tuple[str, str], _Seen] = {}

    def look(self, troubles: Iterable[Trouble], now: float) -> list[AlertRaised | AlertResolved]:
        """The alerts that are raised and resolved by what is wrong now."""
        events: list[AlertRaised | AlertResolved] = []
        wrong: dict[tuple[str, str], list[Trouble]] = {}
        for trouble in troubles:
            wrong.setdefault((trouble.rule, trouble.about), []).append(trouble)
        for key, found in wrong.items():
            seen = self._seen.setdefault(key, _Seen(now))
            seen.right_since = None
            if seen.alert is None and now - seen.since >= self._settings.after_s:
                seen.alert = self._raised(found, now)
                events.append(seen.alert)
        for key, seen in list(self._seen.items()):
            if key in wrong:
                continue
            if seen.right_since is None:
                seen.right_since = now
            if seen.alert is None:
                del self._seen[key]
            elif now - seen.right_since >= self._settings.after_s:
                del self._seen[key]
                events.append(self._resolved(seen.alert, now))
        return events

    def _raised(self, troubles: list[Trouble], now: float) -> AlertRaised:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        return AlertRaised(
            alert_id=new_id(),
            category="health",
            rule=troubles[0].rule,
            severity=self._settings.severity,
            summary=troubles[0].problem + more,
            at_s=now - self._started_at,
            smoothed=None,
            speech_s=0.0,
            model=self._model,
        )

    def _resolved(self, alert: AlertRaised, now: float) -> AlertResolved:
        return AlertResolved(
            alert_id=alert.alert_id,
            category="health",
            rule=alert.rule,
            severity=alert.severity,
            reason="cleared",
            at_s=now - self._started_at,
        )


class Lateness:
    """How many windows of the last minute were not scored in time; a bus listener."""

    def __init__(self, most: float) -> None:
        self.problem: str | None = None
        """What is wrong, in words."""
        self._most = most
        self._late = 0
        self._all = 0
        self._looks: deque[tuple[float, int, int]] = deque()

    def on_event(self, event: AnyEvent) -> None:
        """Count a window."""
        if isinstance(event, WindowScored) and (event.score is not None or event.skipped in LATE):
            self._all += 1
            self._late += event.skipped in LATE

    def look(self, now: float) -> None:
        """Judge the last minute; ``now`` in seconds of a clock that never goes back."""
        self._looks.append((now, self._late, self._all))
        self._late = self._all = 0
        while self._looks[0][0] <= now - LATE_WITHIN_S:
            self._looks.popleft()
        late, windows = (sum(look[column] for look in self._looks) for column in (1, 2))
        self.problem = None
        if windows >= FEWEST_WINDOWS and late >= self._most * windows:
            self.problem = (
                f"scoring is late: {late} of the last minute's {windows} windows were skipped; take fewer "
                "calls, raise windows.hop_s, or give it more processors or a GPU"
            )


class Disks:
    """Whether there is room where the daemon writes.

    Args:
        files: those it writes; their folders need not exist yet.
        min_free_mb: below this a disk is full.
    """

    def __init__(self, files: Collection[Path], min_free_mb: int) -> None:
        self.troubles: list[Trouble] = []
        self._folders = sorted({path.parent for path in files})
        self._least = min_free_mb
        self._thread = DaemonThread("disk space")
        self._looking: Future[list[Trouble]] | None = None

    async def look(self) -> None:
        """Look once; a disk that does not answer is in trouble, too."""
        if self._looking is None:
            self._looking = self._thread.submit(self._look)
        done, _ = await asyncio.wait([asyncio.wrap_future(self._looking)], timeout=DISK_DEADLINE_S)
        if done:
            self.troubles, self._looking = self._looking.result(), None
        else:
            names = ", ".join(map(str, self._folders))
            self.troubles = [Trouble("storage", "disks", f"{names}: the disk does not answer: check it")]

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()

    def _look(self) -> list[Trouble]:
        troubles = []
        for folder in self._folders:
            try:
                there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
                free_mb = shutil.disk_usage(there).free // MEGABYTE
            except OSError as error:
                troubles.append(Trouble("storage", str(folder), f"{folder}: {error.strerror or error}"))
                continue
            if free_mb < self._least:
                words = f"{folder}: {free_mb} MB left, fewer than alerts.health.min_free_mb: make room"
                troubles.append(Trouble("disk-full", str(folder), words))
        return troubles


class Health:
    """What is wrong with the daemon, looked at for ever.

    Args:
        settings: how often, and what is too much.
        files: those that the daemon writes.
        model: name and short hash of the bundle.
    """

    def __init__(self, settings: HealthAlerts, files: Collection[Path], model: str) -> None:
        self.lateness = Lateness(settings.late_share)
        self.started_at = time.monotonic()
        self._disks = Disks(files, settings.min_free_mb)
        self._watch = Watch(settings, model, self.started_at)
        self._every_s = settings.look_every_s

    @property
    def troubles(self) -> list[Trouble]:
        """Those that nobody else knows of."""
        late = self.lateness.problem
        return [*self._disks.troubles, *([Trouble("scorer-late", "scorer", late)] if late else [])]

    async def run(
        self, troubles: Callable[[], list[Trouble]], take: Callable[[AlertRaised | AlertResolved], None]
    ) -> None:
        """Look until cancelled.

        Args:
            troubles: all of them, without waiting.
            take: who writes alerts down and tells them.
        """
        try:
            while True:
                await self._disks.look()
                self.lateness.look(now := time.monotonic())
                for alert in self._watch.look(troubles(), now):
                    take(alert)
                await asyncio.sleep(self._every_s)
        finally:
            self._disks.close()
