"""How long alerts are kept: for some days, and at most so many. SQL on the alerts' database.

What is still to be delivered to somebody stays, and so does what goes on.
"""

import json
import sqlite3
import time
from collections.abc import Iterable

from fac_stream.alerts.records import forget_marks
from fac_stream.storage.clock import Clock

KEEP_DELIVERED = 10_000
"""Alert events kept where all is delivered; the oldest go first."""
KEEP_DEAD = 20_000
"""Alert events kept where a delivery was given up, or somebody marked the alert."""
EVENTS_A_TURN = 500
"""Alert events that one transaction deletes for their age, so that what is to be written need not wait."""
EVERY_S = 3600.0


class Age:
    """What is too old goes, every hour.

    Args:
        keep_days: after which an alert is; None: never.
        receivers: ids of those to whom something may still be delivered.
        life: which run of a daemon this is: its own alerts go on until they are resolved.
    """

    def __init__(self, keep_days: float | None, receivers: Iterable[str], life: str) -> None:
        self._keep_s = None if keep_days is None else keep_days * 86_400
        self._receivers = json.dumps([*receivers])
        self._life = life
        self._clock = Clock()
        self._due = 0.0

    def forget(self, connection: sqlite3.Connection) -> int:
        """Delete, if it is time, some of what is too old; how many alert events."""
        if self._keep_s is None or time.monotonic() < self._due:
            return 0
        newest = connection.execute(
            "SELECT written_at FROM message WHERE written_at < ? ORDER BY id DESC LIMIT 1",
            (self._clock.begun_at,),
        ).fetchone()
        deleted = 0
        if self._clock.is_believed(newest and newest[0]):
            deleted = self._forget(time.time() - self._keep_s, connection)
        if deleted < EVENTS_A_TURN:
            self._due = time.monotonic() + EVERY_S
        return deleted

    def _forget(self, oldest: float, connection: sqlite3.Connection) -> int:
        deleted = connection.execute(
            "DELETE FROM message WHERE id IN (SELECT id FROM message AS old WHERE written_at < :oldest"
            " AND NOT EXISTS (SELECT 1 FROM message WHERE alert_id = old.alert_id AND written_at >= :oldest)"
            " AND (life <> :life OR EXISTS"
            " (SELECT 1 FROM message WHERE alert_id = old.alert_id AND type = 'alert.resolved'))"
            " AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = old.id AND state = 'pending'"
            " AND hook IN (SELECT value FROM json_each(:receivers)))"
            " ORDER BY id LIMIT :most)",
            {
                "oldest": oldest,
                "life": self._life,
                "receivers": self._receivers,
                "most": EVENTS_A_TURN,
            },
        ).rowcount
        if deleted:
            forget_marks(connection)
        return deleted


def prune(connection: sqlite3.Connection, newest: int) -> None:
    """Delete what is too much; ``newest`` is the number of the newest alert event."""
    unmarked = " AND NOT EXISTS (SELECT 1 FROM mark WHERE mark.alert_id = message.alert_id)"
    for keep, states, also in (
        (KEEP_DELIVERED, ("pending", "dead"), unmarked),
        (KEEP_DEAD, ("pending", "pending"), ""),
    ):
        connection.execute(
            "DELETE FROM message WHERE id <= ? AND NOT EXISTS"  # noqa: S608 - no part comes from outside
            f" (SELECT 1 FROM delivery WHERE message = message.id AND state IN (?, ?)){also}",
            (newest - keep, *states),
        )
    forget_marks(connection)
