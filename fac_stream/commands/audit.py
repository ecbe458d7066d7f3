"""``fac audit``: what the audit log says, and whether it was tampered with."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.commands.terminal import printable
from fac_stream.config import Config
from fac_stream.config_file import load
from fac_stream.errors import ConfigError, StorageError

app = typer.Typer(
    help="Read the audit log, and find out whether it was changed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LogFile = Annotated[
    Path | None,
    typer.Option("--file", help="The audit log; without it, the configuration's.", metavar="FILE"),
]


@app.command(epilog="Example: fac audit verify --noted 5b0d…")
def verify(
    *,
    config: ConfigFile = None,
    file: LogFile = None,
    noted: Annotated[
        str | None,
        typer.Option(help="A hash that was noted elsewhere: an entry must have it.", metavar="HASH"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether any line was changed, removed, added or moved; exit code 1 where one was.

    Lines missing at the end break nothing in the log: note the last hash (`fac audit head`; the daemon's log
    has it at each start) in another place, and give it with --noted.
    """
    from fac_stream.storage.audit import verify as examine

    path = _path(config, file)
    verdict = examine(path, noted)
    head = verdict.head
    if as_json:
        faults = [{"line": fault.line, "what": fault.what} for fault in verdict.faults]
        found = {"file": str(path), "good": verdict.good, "entries": verdict.entries, "faults": faults}
        typer.echo(json.dumps({**found, "noted": verdict.noted, "head": head.hash if head else None}))
    else:
        for fault in verdict.faults:
            typer.echo(f"{path}:{fault.line}: {fault.what}")
        if not verdict.noted:
            typer.echo(f"{path}: no entry has the hash {noted}: lines are missing, or it is another log")
        if verdict.good:
            typer.echo(f"{path}: good, {verdict.entries} entries; head {head.hash if head else 'none'}")
            typer.echo(
                "Whether lines are missing at its end, only a hash noted elsewhere tells: --noted HASH"
            )
    if not verdict.good:
        raise typer.Exit(1)


@app.command(epilog="Example: fac audit head --json")
def head(*, config: ConfigFile = None, file: LogFile = None, as_json: AsJson = False) -> None:
    """Print number, time and hash of the last entry: note them where who can change the log cannot."""
    from fac_stream.storage.audit import AuditLog

    last = AuditLog(_path(config, file)).head()
    if as_json:
        typer.echo(json.dumps(last.model_dump(include={"seq", "time", "hash"}) if last else None))
    else:
        typer.echo(_plain(f"{last.seq} {last.time} {last.hash}") if last else "no entries")


@app.command("list", epilog="Example: fac audit list --kind alert.marked --last 20")
def list_entries(
    *,
    config: ConfigFile = None,
    file: LogFile = None,
    kind: Annotated[
        str | None, typer.Option(help="Only those, such as alert.marked.", metavar="KIND")
    ] = None,
    call: Annotated[str | None, typer.Option(help="Only those about this call.", metavar="ID")] = None,
    last: Annotated[
        int, typer.Option("--last", "-n", help="How many, from the latest.", min=1, max=100_000)
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """Print the latest entries, oldest first. Ids of calls stand there as keyed hashes."""
    from collections import deque

    from fac_stream.history.numbers import Hashes
    from fac_stream.storage.audit import entries
    from fac_stream.storage.places import key_file

    settings = load(config)
    key = key_file(settings.history)
    if call and not key.exists():  # one that was made here would find nothing, and belong to the wrong user
        raise StorageError(f"{key}: the key of the hashed ids is missing")
    hashed = Hashes(key).call(call) if call else None
    found = (
        entry
        for entry in entries(_path_in(settings, file))
        if (kind is None or entry.kind == kind) and (hashed is None or entry.facts.get("call") == hashed)
    )
    for entry in deque(found, maxlen=last):
        facts = " ".join(f"{name}={json.dumps(value)}" for name, value in entry.facts.items())
        line = f"{entry.seq:>6}  {entry.time}  {entry.kind:18}  {facts}"
        typer.echo(json.dumps(entry.model_dump()) if as_json else _plain(line))


def _plain(line: str) -> str:
    """Whoever wrote into the log must not steer the terminal of who reads it."""
    return printable(line)


def _path(config: Path | None, file: Path | None) -> Path:
    return file or _path_in(load(config), None)


def _path_in(settings: Config, file: Path | None) -> Path:
    from fac_stream.storage.places import audit_file

    path = file or audit_file(settings.history)
    if path is None:
        raise ConfigError("history.audit is null: no audit log is written")
    return path
