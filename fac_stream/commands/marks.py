"""``fac alerts ack|confirm|reject``: what somebody says of an alert, written beside a running daemon too."""

import getpass
import os
import sqlite3
from typing import Annotated

import typer

from fac_stream.commands.alerts import Database, app, opened
from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.errors import FacError, StorageError
from fac_stream.events import AlertMarked, Mark

WORDS: dict[Mark, str] = {
    "acknowledged": "acknowledged",
    "confirmed_fake": "marked as confirmed fake",
    "false_alarm": "marked as a false alarm",
}

Alert = Annotated[str, typer.Argument(help="Alert id, or how it begins.", metavar="ALERT")]
By = Annotated[str | None, typer.Option(help="Who says so; without it, the user.", metavar="NAME")]
Note = Annotated[str, typer.Option(help="Why.", metavar="TEXT")]


@app.command(epilog="Example: fac alerts ack alert_0f3c1b --by Ada")
def ack(
    *,
    alert: Alert,
    by: By = None,
    note: Note = "",
    config: ConfigFile = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say that somebody has seen an alert."""
    with opened(config, database) as file:
        _mark(file, "acknowledged", alert, (by, note), as_json=as_json)


@app.command(epilog='Example: fac alerts confirm alert_0f3c1b --note "the customer called back"')
def confirm(
    *,
    alert: Alert,
    by: By = None,
    note: Note = "",
    config: ConfigFile = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say that the voice of an alert was synthetic indeed."""
    with opened(config, database) as file:
        _mark(file, "confirmed_fake", alert, (by, note), as_json=as_json)


@app.command(epilog='Example: fac alerts reject alert_0f3c1b --note "our own voice menu"')
def reject(
    *,
    alert: Alert,
    by: By = None,
    note: Note = "",
    config: ConfigFile = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say that an alert was a false alarm."""
    with opened(config, database) as file:
        _mark(file, "false_alarm", alert, (by, note), as_json=as_json)


def _mark(
    file: sqlite3.Connection, mark: Mark, alert: str, said: tuple[str | None, str], *, as_json: bool
) -> None:
    from fac_stream.alerts.records import marked

    if file.execute("PRAGMA user_version").fetchone()[0] < 2:
        raise StorageError(
            "an older version of FAC Stream has written this file: start the daemon once, then try again"
        )
    file.execute("BEGIN IMMEDIATE")
    event = _event(mark, _whole(file, alert), *said)
    record = marked(event, file)
    file.execute("COMMIT")
    if record is None:
        raise FacError(f"alert {event.alert_id} cannot be read: its row in the file is damaged")
    typer.echo(record.model_dump_json() if as_json else f"{record.alert_id} {WORDS[mark]} by {event.by}")


def _whole(file: sqlite3.Connection, prefix: str) -> str:
    rows = file.execute(
        "SELECT alert_id FROM message WHERE type = 'alert.raised' AND substr(alert_id, 1, ?) = ? LIMIT 3",
        (len(prefix), prefix),
    ).fetchall()
    found = [alert_id for (alert_id,) in rows if prefix]
    if prefix in found:
        return prefix
    if len(found) > 1:
        raise FacError(f"more than one alert begins with {prefix!r}: give more of it; see: fac alerts list")
    if not found:
        raise FacError(f"no alert begins with {prefix!r}; see: fac alerts list")
    return str(found[0])


def _event(mark: Mark, alert_id: str, by: str | None, note: str) -> AlertMarked:
    try:
        return AlertMarked(alert_id=alert_id, mark=mark, by=by or _user(), note=note)
    except ValueError:
        raise FacError("--by has at most 64 characters and --note 500, all on one line") from None


def _user() -> str:
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):  # a user without a name
        return f"user {os.getuid()}"
