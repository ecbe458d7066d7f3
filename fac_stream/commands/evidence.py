"""``fac evidence``: its key, what of it there is, and its end."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.commands.terminal import printable
from fac_stream.config_file import load
from fac_stream.errors import StorageError

app = typer.Typer(
    help="Look after the audio that is kept around alerts.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(epilog="Example: fac evidence key /etc/fac/evidence.key")
def key(
    *,
    file: Annotated[
        Path | None, typer.Argument(help="Where to write it, mode 0600; printed without.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key.

    A file that is there already is not overwritten: what was encrypted with its key would be lost.
    """
    from fac_stream.evidence.key import new_key
    from fac_stream.evidence.sealed import key_id

    text, made = new_key()
    if file is not None:
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(f"{text}\n")
        except OSError as error:
            raise StorageError(f"{file}: {error.strerror}") from None
    if as_json:
        shown = {"id": key_id(made), **({"file": str(file)} if file else {"key": text})}
        typer.echo(json.dumps(shown))
    else:
        typer.echo(text if file is None else f"{file}: a new key, id {key_id(made)}; keep a copy elsewhere")


@app.command("list", epilog="Example: fac evidence list --json")
def list_evidence(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print what there is, oldest first; that needs no key."""
    from fac_stream.evidence.folder import Folder

    load(config)  # a fault of the configuration is told here, too
    for entry in Folder().entries():
        header = entry.header
        if as_json:
            facts = (
                header.model_dump(mode="json") if header else {"alert_id": entry.alert_id, "damaged": True}
            )
            typer.echo(json.dumps({**facts, "bytes": entry.size}))
        elif header is None:
            typer.echo(f"{entry.alert_id}  damaged")
        else:
            text = (
                f"{entry.alert_id}  {header.raised_at:%Y-%m-%d %H:%M:%S}Z  until {header.keep_until:%Y-%m-%d}"
                f"  {entry.size / 1000:.0f} kB  {header.bundle}  call {header.call_id}  for: {header.purpose}"
            )
            # Call ids come from outside: one must not steer the terminal.
            typer.echo(printable(text))


@app.command(epilog="Example: fac evidence delete alert_0f3c1b")
def delete(
    *,
    alerts: Annotated[list[str], typer.Argument(help="Alert ids, or how they begin.", metavar="ALERT…")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete the evidence of alerts, also beside a running daemon; that needs no key.

    Of a whole call: fac history delete CALL.
    """
    from fac_stream.evidence.folder import Folder
    from fac_stream.evidence.reading import delete_evidence, full_id

    settings, folder = load(config), Folder()
    for alert in alerts:
        alert_id = full_id(folder, alert)
        delete_evidence(settings, folder, alert_id)
        typer.echo(json.dumps({"deleted": alert_id}) if as_json else f"{alert_id}: deleted")
