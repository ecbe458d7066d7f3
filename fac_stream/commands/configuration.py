"""``fac config``: look at a configuration before it runs."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import yaml

from fac_stream.commands.options import ConfigFile
from fac_stream.config_file import load

app = typer.Typer(help="Check or show a configuration.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: fac config check config.yaml")
def check(file: Annotated[Path, typer.Argument(help="YAML file.")]) -> None:
    """Say whether the daemon would take this file; every fault with its line, and exit code 2."""
    load(file)
    typer.echo(f"{file}: good")


@app.command(epilog="Example: fac config show --config config.yaml")
def show(
    config: ConfigFile = None,
) -> None:
    """Print the whole configuration in force: defaults, file and FAC_* environment; secrets are masked.

    Of a webhook's address only the host is shown, as the rest is a password with some receivers.
    """
    tree = load(config).model_dump(mode="json")
    for webhook in tree["alerts"]["webhooks"]:
        webhook["url"] = _host_of(webhook["url"])
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), nl=False)


def _host_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
