"""``fac alerts``: what stands in the database of alerts, also while a daemon runs with it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fac_stream.commands import trial
from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.commands.terminal import printable
from fac_stream.config_file import load
from fac_stream.errors import ConfigError, FacError, StorageError

app = typer.Typer(
    help="Look at alerts, send again what was given up.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("test", epilog="Example: fac alerts test --hook desk.example.org")(trial.try_hooks)

Database = Annotated[
    Path | None,
    typer.Option("--database", help="File of the alerts; without it, the configuration's.", metavar="FILE"),
]
Category = Annotated[
    Literal["fraud", "health"] | None,
    typer.Option(help="Only alerts about voices, or only those of the daemon about itself."),
]
Count = Annotated[int, typer.Option("--last", "-n", help="How many, from the latest.", min=1, max=100_000)]


@app.command("list", epilog="Example: fac alerts list --category fraud --last 20")
def list_alerts(
    *,
    config: ConfigFile = None,
    database: Database = None,
    category: Category = None,
    last: Count = 50,
    as_json: AsJson = False,
) -> None:
    """Print the latest alerts, oldest first, with their marks and the state of their deliveries."""
    with opened(config, database) as file:
        wanted = (
            "?1 IS NULL OR CASE WHEN json_valid(CAST(body AS TEXT))"
            " THEN coalesce(json_extract(CAST(body AS TEXT), '$.data.category'), 'fraud') = ?1 END"
        )
        _print(_entries(file, wanted, last, category), as_json=as_json)


@app.command(epilog="Example: fac alerts dead --json")
def dead(
    *, config: ConfigFile = None, database: Database = None, last: Count = 50, as_json: AsJson = False
) -> None:
    """Print the alerts of which a delivery was given up."""
    with opened(config, database) as file:
        given_up = "id IN (SELECT message FROM delivery WHERE state = 'dead')"
        _print(_entries(file, given_up, last), as_json=as_json)


@app.command(epilog="Example: fac alerts show alert_0f3c1b")
def show(
    *,
    alert: Annotated[str, typer.Argument(help="Alert id, or how it begins.", metavar="ALERT")],
    config: ConfigFile = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Print all that is known of an alert: raised, resolved, and each delivery."""
    with opened(config, database) as file:
        found = _entries(file, "substr(alert_id, 1, ?) = ?", 100, len(alert), alert)
    if not found:
        raise FacError(f"no alert begins with {alert!r}; see: fac alerts list")
    if as_json:
        _print(found, as_json=True)
        return
    for entry in found:
        typer.echo(json.dumps(entry, indent=2))


@app.command(epilog="Example: fac alerts replay alert_0f3c1b")
def replay(
    *,
    alert: Annotated[
        str | None, typer.Argument(help="Alert id, or how it begins; without it, all.", metavar="ALERT")
    ] = None,
    config: ConfigFile = None,
    database: Database = None,
) -> None:
    """Send again what was given up, with the same ids.

    A running daemon begins within seconds, any other when it starts. A receiver that answered 410 is tried
    again too.
    """
    if alert == "":  # a shell variable that is not set
        raise FacError("no alert begins with nothing: name one, or leave it out to send all again")
    prefix = alert or ""
    with opened(config, database) as file:
        file.execute("BEGIN IMMEDIATE")
        which = (
            "state = 'dead' AND message IN (SELECT id FROM message WHERE substr(alert_id, 1, ?) = ?)",
            (len(prefix), prefix),
        )
        file.execute(
            f"UPDATE hook SET gone = NULL WHERE hook IN (SELECT hook FROM delivery WHERE {which[0]})",  # noqa: S608 - no part comes from outside
            which[1],
        )
        changed = file.execute(
            f"UPDATE delivery SET state = 'pending', attempts = 0, due = 0 WHERE {which[0]}",  # noqa: S608 - no part comes from outside
            which[1],
        )
        file.execute("COMMIT")
    if alert and not changed.rowcount:
        raise FacError(f"nothing was given up of alerts that begin with {alert!r}; see: fac alerts dead")
    typer.echo(f"{changed.rowcount} deliveries will be tried again")


@contextmanager
def opened(config: Path | None, database: Path | None) -> Iterator[sqlite3.Connection]:
    """The file that the options name, beside a daemon that may be running with it.

    Raises:
        ConfigError: the configuration keeps alerts in memory.
        StorageError: the file cannot be used.
    """
    from fac_stream.storage.database import opened_beside, state_file

    path = database or load(config).alerts.database
    if path is None:
        raise ConfigError("alerts.database is null: alerts are in the daemon's memory only")
    path = state_file("alerts.db") if path == "auto" else Path(path)
    with closing(opened_beside(path)) as file:
        try:
            yield file
        except sqlite3.DatabaseError as error:
            raise StorageError(f"{path}: {error}") from None


def _entries(file: sqlite3.Connection, where: str, last: int, *values: object) -> list[dict[str, Any]]:
    rows = file.execute(
        f"SELECT id, message_id, type, written_at, body FROM message WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - no part comes from outside
        (*values, last),
    ).fetchall()
    found = []
    for row in reversed(rows):
        try:
            found.append(_entry(file, row))
        except (ValueError, KeyError, TypeError, OverflowError, OSError):  # no JSON, no alert, or no time
            typer.echo(printable(f"fac: {row[1]} cannot be read: it is left out"), err=True)
    return found


def _entry(file: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    number, message_id, kind, written_at, body = row
    data = json.loads(body)["data"]
    deliveries = file.execute(
        "SELECT host, state, attempts, due, detail FROM delivery LEFT JOIN hook USING (hook)"
        " WHERE message = ?",
        (number,),
    )
    return {
        "webhook_id": message_id,
        "type": kind,
        "written_at": _time(written_at),
        "data": data,
        "marks": _marks(file, data["alert_id"]) if kind == "alert.raised" else [],
        "deliveries": [
            {
                "host": host,
                "state": state,
                "attempts": attempts,
                "next_attempt": _time(due) if state == "pending" and due else None,
                "detail": detail,
            }
            for host, state, attempts, due, detail in deliveries
        ],
    }


def _marks(file: sqlite3.Connection, alert_id: str) -> list[dict[str, Any]]:
    if not file.execute("SELECT 1 FROM sqlite_schema WHERE name = 'mark'").fetchone():
        return []  # an older version has written the file
    rows = file.execute(
        "SELECT mark, who, note, marked_at FROM mark WHERE alert_id = ? ORDER BY id", (alert_id,)
    )
    return [{"mark": mark, "by": by, "note": note, "time": _time(at)} for mark, by, note, at in rows]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(entries: list[dict[str, Any]], *, as_json: bool) -> None:
    for entry in entries:
        if as_json:
            typer.echo(json.dumps(entry))
            continue
        data = entry["data"]
        what = data.get("summary") or f"over ({data.get('reason')})"
        if entry["marks"]:
            what += f" ({', '.join(mark['mark'].replace('_', ' ') for mark in entry['marks'])})"
        states = ", ".join(_delivery(delivery) for delivery in entry["deliveries"]) or "no receivers"
        line = f"{entry['written_at']}  {data['alert_id']}  {entry['type']:14}  {what}  [{states}]"
        # Call ids come from outside: one must not steer the terminal.
        typer.echo(printable(line))


def _delivery(delivery: dict[str, Any]) -> str:
    tries = f" after {delivery['attempts']}: {delivery['detail']}" if delivery["detail"] else ""
    return f"{delivery['host']} {delivery['state']}{tries if delivery['state'] != 'delivered' else ''}"
