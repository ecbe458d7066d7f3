"""Alerts as people look at them: raised, resolved, and marked by whom. SQL on the alerts' database.

The daemon and ``fac alerts`` run the same functions, each on a connection of its own.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from fac_stream.events import AlertMarked, AlertRaised, AlertResolved, Category, Frozen, Mark

log = structlog.get_logger(__name__)

_COLUMNS = "".join(
    f"""
    ALTER TABLE message ADD COLUMN {name} TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(CAST(body AS TEXT))
        THEN json_extract(CAST(body AS TEXT), '$.data.{name}') END);"""
    for name in ("call_id", "leg", "category")
)
MARKS = f"""{_COLUMNS}
    CREATE INDEX message_call ON message (call_id);
    CREATE TABLE mark (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_id TEXT NOT NULL,
        mark TEXT NOT NULL CHECK (mark IN ('acknowledged', 'confirmed_fake', 'false_alarm')),
        who TEXT NOT NULL,
        note TEXT NOT NULL,
        marked_at REAL NOT NULL,
        told INTEGER NOT NULL DEFAULT 0,
        UNIQUE (alert_id, mark, who)
    ) STRICT;
    CREATE INDEX mark_untold ON mark (id) WHERE told = 0
"""
"""A migration of the alerts' database. ``category`` is null in messages from before there was one; a body
that cannot be read gives nulls, and stops nothing."""

MAX_MARKS = 100
"""Of one alert; then the oldest goes."""
MAX_UNTOLD = 1000
"""Marks that are published at a time."""

State = Literal["firing", "resolved", "open"]


class AlertRecord(Frozen):
    """One alert, as ``GET /api/alerts`` and ``fac alerts`` show it."""

    alert_id: str
    category: Category
    state: Literal["firing", "resolved"]
    acknowledged: bool
    """Whether anybody has marked it."""
    verdict: Mark | None
    """``confirmed_fake`` or ``false_alarm``, whichever was said last."""
    raised: AlertRaised
    resolved: AlertResolved | None
    marks: list[AlertMarked]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts to list."""

    limit: int = 50
    before: str | None = None
    """Only those raised before this alert."""
    state: State | None = None
    """``open``: nobody has marked it yet."""
    category: Category | None = None
    call_id: str | None = None


def marked(mark: AlertMarked, connection: sqlite3.Connection) -> AlertRecord | None:
    """Write a mark down, in place of the same mark by the same person; None where there is no such alert."""
    if read(mark.alert_id, connection) is None:
        return None
    row = (mark.alert_id, mark.mark, mark.by, mark.note, time.time())
    connection.execute(
        "INSERT OR REPLACE INTO mark (alert_id, mark, who, note, marked_at) VALUES (?, ?, ?, ?, ?)", row
    )
    connection.execute(
        "DELETE FROM mark WHERE alert_id = ?1 AND id <="
        " (SELECT id FROM mark WHERE alert_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (mark.alert_id, MAX_MARKS),
    )
    return read(mark.alert_id, connection)


def read(alert_id: str, connection: sqlite3.Connection) -> AlertRecord | None:
    """One alert; None where there is none with this id."""
    rows = connection.execute(_SELECT + " AND raised.alert_id = ? LIMIT 1", (alert_id,)).fetchall()
    return next(iter(_records(connection, rows)), None)


def recorded(wanted: Wanted, connection: sqlite3.Connection) -> list[AlertRecord]:
    """Alerts, the latest first."""
    query, values = _SELECT, []
    for condition, value in (
        ("raised.id < (SELECT min(id) FROM message WHERE alert_id = ?)", wanted.before),
        ("raised.call_id = ?", wanted.call_id),
        ("coalesce(raised.category, 'fraud') = ?", wanted.category),
    ):
        if value is not None:
            query += f" AND {condition}"
            values.append(value)
    query += _STATES[wanted.state]
    rows = connection.execute(f"{query} ORDER BY raised.id DESC LIMIT {wanted.limit:d}", values).fetchall()
    return _records(connection, rows)


def untold(connection: sqlite3.Connection) -> dict[int, AlertMarked]:
    """Marks that were not published yet, by their number; those that nobody can read count as published."""
    rows = connection.execute(
        "SELECT id, alert_id FROM mark WHERE told = 0 ORDER BY id LIMIT ?", (MAX_UNTOLD,)
    ).fetchall()
    marks = _marks(connection, {alert_id for _, alert_id in rows})
    note_told([number for number, alert_id in rows if number not in marks[alert_id]], connection)
    return {number: marks[alert_id][number] for number, alert_id in rows if number in marks[alert_id]}


def note_told(numbers: Sequence[int], connection: sqlite3.Connection) -> None:
    """These marks are published."""
    connection.executemany("UPDATE mark SET told = 1 WHERE id = ?", [(number,) for number in numbers])


def forget_call(call_id: str, connection: sqlite3.Connection) -> None:
    """Delete the alerts of a call, with their marks and deliveries."""
    connection.execute("DELETE FROM message WHERE call_id = ?", (call_id,))
    forget_marks(connection)


def forget_marks(connection: sqlite3.Connection) -> None:
    """Marks go with their alerts."""
    connection.execute(
        "DELETE FROM mark WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.alert_id = mark.alert_id)"
    )


_SELECT = (
    "SELECT raised.alert_id, raised.body, resolved.body FROM message AS raised LEFT JOIN message AS resolved"
    " ON resolved.alert_id = raised.alert_id AND resolved.type = 'alert.resolved'"
    " WHERE raised.type = 'alert.raised'"
)
_STATES: dict[State | None, str] = {
    None: "",
    "firing": " AND resolved.id IS NULL",
    "resolved": " AND resolved.id IS NOT NULL",
    "open": " AND NOT EXISTS (SELECT 1 FROM mark WHERE mark.alert_id = raised.alert_id)",
}


def _records(connection: sqlite3.Connection, rows: Sequence[tuple[str, bytes, bytes]]) -> list[AlertRecord]:
    marks = _marks(connection, {alert_id for alert_id, _, _ in rows})
    found = [_record(*row, list(marks.get(row[0], {}).values())) for row in rows]
    return [record for record in found if record]


def _record(
    alert_id: str, raised: bytes, resolved: bytes | None, marks: list[AlertMarked]
) -> AlertRecord | None:
    try:
        alert = AlertRaised.model_validate(_fields(raised))
        end = None if resolved is None else AlertResolved.model_validate(_fields(resolved))
    except (ValueError, KeyError, TypeError):
        log.warning("an alert on disk cannot be read: it is left out", alert_id=alert_id)
        return None
    verdicts = [mark.mark for mark in marks if mark.mark != "acknowledged"]
    return AlertRecord(
        alert_id=alert_id,
        category=alert.category,
        state="firing" if end is None else "resolved",
        acknowledged=bool(marks),
        verdict=verdicts[-1] if verdicts else None,
        raised=alert,
        resolved=end,
        marks=marks,
    )


def _fields(body: bytes) -> dict[str, Any]:
    told = json.loads(body)
    return {**told["data"], "time": told["timestamp"]}


def _marks(connection: sqlite3.Connection, alerts: set[str]) -> dict[str, dict[int, AlertMarked]]:
    """Alert → number of the mark → mark, oldest first."""
    found: dict[str, dict[int, AlertMarked]] = {}
    for alert_id in alerts:
        rows = connection.execute(
            "SELECT mark.id, mark, who, note, marked_at, call_id, leg"
            " FROM mark LEFT JOIN message ON message.alert_id = mark.alert_id AND type = 'alert.raised'"
            " WHERE mark.alert_id = ? ORDER BY mark.id",
            (alert_id,),
        )
        read = [(row[0], _mark(alert_id, row)) for row in rows]
        found[alert_id] = {number: mark for number, mark in read if mark}
    return found


def _mark(alert_id: str, row: Sequence[Any]) -> AlertMarked | None:
    number, mark, who, note, at, call_id, leg = row
    try:
        return AlertMarked(
            time=datetime.fromtimestamp(at, UTC),
            call_id=call_id,
            leg=leg,
            alert_id=alert_id,
            mark=mark,
            by=who,
            note=note,
        )
    except (ValueError, OverflowError, OSError):  # no time, or no mark
        log.warning("a mark on disk cannot be read: it is left out", alert_id=alert_id, mark=number)
        return None
