"""The history as flat tables in files: CSV, JSON lines, Parquet. Rows are written as they are read."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, Literal, TextIO

from fac_stream.errors import ConfigError
from fac_stream.history.numbers import Hashes
from fac_stream.history.schema import STEP_S
from fac_stream.history.searches import Row, Search, rfc3339

Table = Literal["legs", "decisions", "timeline", "alerts"]
Kind = Literal["text", "time", "number", "count"]

ROWS_A_GROUP = 10_000
"""Rows that a Parquet file holds together."""
FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9 ()./+-]*\Z)")
"""How a text begins that a spreadsheet would compute; numbers of telephones are none."""


_NUMBERS = (
    "(SELECT group_concat(coalesce(plain, hash), ' ') FROM number WHERE call = call.id AND role = '{}')"
)
COLUMNS: dict[str, tuple[Kind, str]] = {
    "started_at": ("time", "call.id / 1e6"),
    "call_id": ("text", "call.call_id"),
    "source": ("text", "call.source"),
    "caller": ("text", _NUMBERS.format("caller")),
    "callee": ("text", _NUMBERS.format("callee")),
    "end_reason": ("text", "call.end_reason"),
    "duration_s": ("number", "call.duration_s"),
}
"""Of the call, in every table: name → what it is, and how it is found."""
PARTS: dict[Table, tuple[str, dict[str, tuple[Kind, str]]]] = {
    "legs": (
        "leg AS part ON part.call = call.id ORDER BY call.id, leg",
        {
            "leg": ("text", "leg"),
            "decision": ("text", "part.decision"),
            "worst_decision": ("text", "worst_decision"),
            "smoothed": ("number", "smoothed"),
            "peak_score": ("number", "peak_score"),
            "windows": ("count", "windows"),
            "scored": ("count", "scored"),
            "speech_s": ("number", "speech_s"),
            "quality": ("text", "quality"),
        },
    ),
    "decisions": (
        "decision AS part ON part.call = call.id ORDER BY call.id, seq",
        {
            "leg": ("text", "leg"),
            "time": ("time", "time"),
            "at_s": ("number", "at_s"),
            "previous": ("text", "previous"),
            "decision": ("text", "part.decision"),
            "smoothed": ("number", "smoothed"),
            "speech_s": ("number", "speech_s"),
        },
    ),
    "timeline": (
        "step AS part ON part.call = call.id ORDER BY call.id, leg, step",
        {
            "leg": ("text", "leg"),
            "start_s": ("count", f"step * {STEP_S}"),
            "end_s": ("count", f"(step + 1) * {STEP_S}"),
            "windows": ("count", "windows"),
            "scored": ("count", "scored"),
            "mean": ("number", "mean"),
            "peak": ("number", "peak"),
            "smoothed": ("number", "smoothed"),
            "decision": ("text", "part.decision"),
        },
    ),
    "alerts": (
        "alert AS part ON part.call = call.id ORDER BY call.id, raised_at",
        {
            "leg": ("text", "leg"),
            "alert_id": ("text", "alert_id"),
            "rule": ("text", "rule"),
            "severity": ("text", "severity"),
            "raised_at": ("time", "raised_at"),
            "at_s": ("number", "at_s"),
            "smoothed": ("number", "smoothed"),
            "model": ("text", "part.model"),
            "resolved_at": ("time", "resolved_at"),
            "resolution": ("text", "resolution"),
            "verdict": ("text", "verdict"),
        },
    ),
}
"""Table → where its rows come from, and its own columns."""


def columns(table: Table) -> dict[str, Kind]:
    """Name → what it is, in order."""
    return {name: kind for name, (kind, _) in (COLUMNS | PARTS[table][1]).items()}


def rows(table: Table, search: Search, hashes: Hashes, connection: sqlite3.Connection) -> Iterator[Row]:
    """The rows of a table, those of the oldest call first.

    Raises:
        StorageError: a number is searched, and the key is missing.
    """
    condition, values = search.condition(hashes)
    joined, own = PARTS[table]
    wanted = COLUMNS | own
    named = ", ".join(f"{expression} AS {name}" for name, (_, expression) in wanted.items())
    cursor = connection.execute(
        f"SELECT {named} FROM (SELECT * FROM call WHERE {condition}) AS call JOIN {joined}",  # noqa: S608 - no part comes from outside
        values,
    )
    for values_of_row in cursor:
        yield {
            name: rfc3339(value) if kind == "time" else value
            for (name, (kind, _)), value in zip(wanted.items(), values_of_row, strict=True)
        }


def write_json(found: Iterator[Row], file: TextIO) -> None:
    """One object a line."""
    file.writelines(json.dumps(row) + "\n" for row in found)


def write_csv(found: Iterator[Row], table: Table, file: TextIO) -> None:
    """RFC 4180, with a line of names; what is not known is empty, and no text is a formula."""
    writer = csv.DictWriter(file, list(columns(table)))
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in found)


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def write_parquet(found: Iterator[Row], table: Table, file: BinaryIO) -> None:
    """Apache Parquet; times are text.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    arrow, parquet = pyarrow()
    types = {
        "text": arrow.string(),
        "time": arrow.string(),
        "number": arrow.float64(),
        "count": arrow.int64(),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in columns(table).items()])
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(found, ROWS_A_GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def pyarrow() -> tuple[Any, Any]:
    """The library, and its part for Parquet.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'fac-stream[parquet]'") from None
    return pa, parquet
