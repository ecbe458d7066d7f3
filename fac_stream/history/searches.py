"""What can be asked of the history: functions of a connection that change nothing.

Every answer is bounded: calls come in pages, newest first, timelines in at most as many points as are wanted.
"""

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from fac_stream.errors import ConfigError, StorageError
from fac_stream.events import Decision
from fac_stream.history.numbers import Hashes
from fac_stream.history.schema import CRASH, STEP_S

MAX_PAGE = 500
MAX_SAME = 20
"""Calls of one id that are shown in detail, the newest."""
STATES = {
    "active": "end_reason IS NULL",
    "ended": "end_reason IS NOT NULL",
    CRASH: f"end_reason = '{CRASH}'",
    **{decision.value: f"decision = '{decision.value}'" for decision in Decision},
}
"""State → condition: how a call stands, or the most severe decision on any of its legs."""
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """Which calls; None asks nothing."""

    since: datetime | None = None
    until: datetime | None = None
    state: str | None = None
    number: str | None = None
    """Of caller or called, however it is written."""
    before: int | None = None
    """The ``id`` after which the page before ended."""

    def condition(self, hashes: Hashes) -> tuple[str, dict[str, Any]]:
        """As SQL on ``call``, and its values.

        Raises:
            StorageError: there is no key, by which numbers are searched.
        """
        wanted = ["true"]
        values: dict[str, Any] = {"before": self.before}
        if self.since:
            wanted.append("id >= :since")
            values["since"] = _microseconds(self.since)
        if self.until:
            wanted.append("id < :until")
            values["until"] = _microseconds(self.until)
        if self.before is not None:
            wanted.append("id < :before")
        if self.state:
            wanted.append(STATES[self.state])
        if self.number is not None:
            if not hashes.key_file.exists():
                raise StorageError(f"{hashes.key_file}: the key of the hashed numbers is missing")
            wanted.append("id IN (SELECT call FROM number WHERE hash = :hash)")
            values["hash"] = hashes.number(self.number)
        return " AND ".join(wanted), values


def time_of(text: str, now: datetime) -> datetime:
    """A time as people write it: ``2026-11-23``, ``2026-11-23T10:20Z``, or how long ago: ``90m 24h 7d 2w``.

    Raises:
        ConfigError: it is none.
    """
    try:
        if ago := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text[:40]!r} is no time: write 2026-11-23, 2026-11-23T10:20Z, or how long ago: 90m 24h 7d 2w"
        ) from None


def find(search: Search, hashes: Hashes, limit: int, connection: sqlite3.Connection) -> list[Row]:
    """A page of calls, newest first, with legs, numbers and alerts.

    Raises:
        StorageError: as ``Search.condition``.
    """
    condition, values = search.condition(hashes)
    calls = _rows(
        connection,
        f"SELECT * FROM call WHERE {condition} ORDER BY id DESC LIMIT :limit",  # noqa: S608 - no part comes from outside
        **values,
        limit=min(limit, MAX_PAGE),
    )
    return [_with_parts(call, connection) for call in calls]


def details(call_id: str, most_points: int, connection: sqlite3.Connection) -> list[Row]:
    """The calls of an id, newest first, with decisions and timelines."""
    calls = _rows(
        connection,
        "SELECT * FROM call WHERE call_id = :call_id ORDER BY id DESC LIMIT :limit",
        call_id=call_id,
        limit=MAX_SAME,
    )
    return [
        _with_parts(call, connection)
        | {
            "decisions": [_decision(row) for row in _of_call("decision", call["id"], connection)],
            "timeline": _timeline(call["id"], most_points, connection),
        }
        for call in calls
    ]


def rfc3339(seconds: float | None) -> str | None:
    """Unix seconds as UTC time."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_parts(call: Row, connection: sqlite3.Connection) -> Row:
    number = call["id"]
    return {
        "id": number,
        "call_id": call["call_id"],
        "source": call["source"],
        "started_at": rfc3339(number / 1e6),
        "ended_at": rfc3339(call["ended_at"]),
        "end_reason": call["end_reason"],
        "duration_s": call["duration_s"],
        "lost_s": call["lost_s"],
        "decision": call["decision"],
        "model": call["model"],
        "sample_rate": call["sample_rate"],
        "encoding": call["encoding"],
        "metadata": json.loads(call["metadata"]),
        "numbers": [
            {"role": row["role"], "number": row["plain"] or row["hash"]}
            for row in _of_call("number", number, connection)
        ],
        "legs": [
            _without_call(row) | {"quality": json.loads(row["quality"])}
            for row in _of_call("leg", number, connection)
        ],
        "alerts": [
            _without_call(row)
            | {"raised_at": rfc3339(row["raised_at"]), "resolved_at": rfc3339(row["resolved_at"])}
            for row in _of_call("alert", number, connection)
        ],
    }


def _decision(row: Row) -> Row:
    kept = _without_call(row) | {"time": rfc3339(row["time"])}
    del kept["seq"]
    return kept


def _timeline(call: int, most: int, connection: sqlite3.Connection) -> dict[str, list[Row]]:
    """Leg → its points, at most ``most``; where steps are put together, means and peaks are those of all."""
    (steps,) = connection.execute("SELECT max(step) + 1 FROM step WHERE call = ?", (call,)).fetchone()
    together = -(-(steps or 1) // most)
    rows = _rows(connection, "SELECT * FROM step WHERE call = :call ORDER BY leg, step", call=call)
    timeline: dict[str, list[Row]] = {}
    for (leg, _), group in groupby(rows, key=lambda row: (row["leg"], row["step"] // together)):
        timeline.setdefault(leg, []).append(_point(list(group)))
    return timeline


def _point(steps: list[Row]) -> Row:
    scored = sum(step["scored"] for step in steps)
    peaks = [step["peak"] for step in steps if step["peak"] is not None]
    return {
        "start_s": steps[0]["step"] * STEP_S,
        "end_s": (steps[-1]["step"] + 1) * STEP_S,
        "windows": sum(step["windows"] for step in steps),
        "scored": scored,
        "mean": sum(step["mean"] * step["scored"] for step in steps if step["scored"]) / scored
        if scored
        else None,
        "peak": max(peaks, default=None),
        "smoothed": steps[-1]["smoothed"],
        "decision": steps[-1]["decision"],
    }


def _of_call(table: str, call: int, connection: sqlite3.Connection) -> list[Row]:
    return _rows(connection, f"SELECT * FROM {table} WHERE call = :call", call=call)  # noqa: S608 - no part comes from outside


def _rows(connection: sqlite3.Connection, statement: str, **values: Any) -> list[Row]:
    cursor = connection.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _without_call(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name != "call"}


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 1e6)
