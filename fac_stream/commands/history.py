"""``fac history``: what is kept of calls, also while a daemon runs with it."""

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fac_stream.commands.files import private
from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.commands.terminal import printable
from fac_stream.config_file import load
from fac_stream.config_storage import History
from fac_stream.errors import ConfigError, FacError, StorageError

if TYPE_CHECKING:
    from fac_stream.history.numbers import Hashes
    from fac_stream.history.searches import Search

app = typer.Typer(
    help="Search, export and delete what is kept of calls.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Since = Annotated[
    str | None,
    typer.Option(help="From then on: 2026-11-23, or 24h, 7d for how long ago.", metavar="TIME"),
]
Until = Annotated[str | None, typer.Option(help="Before then.", metavar="TIME")]
State = Annotated[
    str | None,
    typer.Option(
        help="unknown, human, suspicious, synthetic (the worst of any leg), active, ended or crash.",
        metavar="STATE",
    ),
]
Number = Annotated[
    str | None, typer.Option(help="Of caller or called, however it is written.", metavar="NUMBER")
]
CallId = Annotated[str, typer.Argument(help="The call's id.", metavar="ID")]


@app.command("list", epilog="Example: fac history list --since 7d --state synthetic")
def list_calls(
    *,
    config: ConfigFile = None,
    since: Since = None,
    until: Until = None,
    state: State = None,
    number: Number = None,
    last: Annotated[
        int, typer.Option("--last", "-n", help="How many, from the latest.", min=1, max=500)
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """Print calls, oldest first."""
    from fac_stream.history.searches import find

    with _opened(config) as (file, _, hashes):
        calls = find(_search(since, until, state, number), hashes, last, file)
    for call in reversed(calls):
        typer.echo(json.dumps(call) if as_json else _line(call))


@app.command(epilog="Example: fac history show 4711")
def show(*, call: CallId, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print all that is kept of the calls with this id: legs, decisions, timelines, alerts."""
    from fac_stream.history.searches import details

    with _opened(config) as (file, settings, _):
        calls = details(call, settings.max_points, file)
    if not calls:
        raise FacError(f"the history has no call {call!r}; see: fac history list")
    for found in calls:
        typer.echo(json.dumps(found, indent=None if as_json else 2))


@app.command(epilog="Example: fac history export --format parquet --table timeline --out scores.parquet")
def export(
    *,
    config: ConfigFile = None,
    kind: Annotated[
        Literal["csv", "json", "parquet"], typer.Option("--format", help="json: one object a line.")
    ] = "csv",
    table: Annotated[
        Literal["legs", "decisions", "timeline", "alerts"],
        typer.Option(help="What is a row; each begins with its call."),
    ] = "legs",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File; without it, standard output.", metavar="FILE")
    ] = None,
    since: Since = None,
    until: Until = None,
    state: State = None,
    number: Number = None,
) -> None:
    """Write calls as a table, oldest first."""
    from fac_stream.history import exports

    if kind == "parquet":
        exports.pyarrow()  # before a file is made
        if out is None:
            raise ConfigError("Parquet goes into a file: --out FILE")
    search = _search(since, until, state, number)
    with _opened(config) as (file, _, hashes):
        found = exports.rows(table, search, hashes, file)
        if kind == "parquet" and out:
            with os.fdopen(private(out), "wb") as parquet:
                exports.write_parquet(found, table, parquet)
            return
        with (
            os.fdopen(private(out), "w", encoding="utf-8", newline="") if out else _standard_output() as text
        ):
            if kind == "csv":
                exports.write_csv(found, table, text)
            else:
                exports.write_json(found, text)


@app.command(epilog="Example: fac history delete 4711")
def delete(*, call: CallId, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Delete all that is kept of the calls with this id, alerts and evidence too.

    The history forgets at once; alerts and evidence go within seconds where a daemon runs, else when it
    starts.
    """
    from fac_stream.history.entries import delete as delete_call
    from fac_stream.history.schema import MIGRATIONS
    from fac_stream.storage.audit import person
    from fac_stream.storage.database import emptied

    with _opened(config) as (file, _, _):
        if file.execute("PRAGMA user_version").fetchone()[0] < len(MIGRATIONS):
            raise StorageError("an older version has written the history: start the daemon of this one first")
        file.execute("BEGIN IMMEDIATE")
        deleted = delete_call(call, person(), file)
        file.execute("COMMIT")
        emptied(file)
    if as_json:
        typer.echo(json.dumps({"call_id": call, "deleted": deleted}))
    else:
        typer.echo(f"{deleted} calls were deleted; the daemon deletes alerts and evidence with this id")


@contextmanager
def _opened(config: Path | None) -> "Iterator[tuple[sqlite3.Connection, History, Hashes]]":
    from fac_stream.history.numbers import Hashes
    from fac_stream.storage.database import opened_beside
    from fac_stream.storage.places import history_file, key_file

    settings = load(config).history
    path = history_file(settings)
    if path is None:
        raise ConfigError("history.database is null: no history is written")
    with closing(opened_beside(path)) as file:
        try:
            yield file, settings, Hashes(key_file(settings))
        except sqlite3.DatabaseError as error:
            raise StorageError(f"{path}: {error}") from None


def _search(since: str | None, until: str | None, state: str | None, number: str | None) -> "Search":
    from fac_stream.history.searches import STATES, Search, time_of

    now = datetime.now(UTC)
    if state is not None and state not in STATES:
        raise ConfigError(f"--state must be one of {', '.join(STATES)}")
    return Search(
        time_of(since, now) if since else None, time_of(until, now) if until else None, state, number
    )


@contextmanager
def _standard_output() -> Iterator[Any]:
    yield sys.stdout


def _line(call: dict[str, Any]) -> str:
    numbers = ", ".join(f"{it['role']} {it['number'][:16]}" for it in call["numbers"])
    length = f"{call['duration_s']:.0f} s" if call["duration_s"] is not None else "going on"
    alerts = f"{len(call['alerts'])} alerts" if call["alerts"] else ""
    parts = [
        call["started_at"],
        f"{call['call_id']:24}",
        f"{call['decision']:10}",
        f"{call['source']:10}",
        f"{length:>8}",
        f"{call['end_reason'] or 'active':14}",
        alerts,
        numbers,
    ]
    # Ids and numbers come from outside: one must not steer the terminal.
    return printable("  ".join(parts).rstrip())
