"""``fac config``: look at a configuration before it runs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import yaml

from fac_stream.commands.options import ConfigFile
from fac_stream.config import Config, FileSource
from fac_stream.config_file import load
from fac_stream.errors import ConfigError

app = typer.Typer(help="Check or show a configuration.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: fac config check config.yaml")
def check(file: Annotated[Path, typer.Argument(help="YAML file.")]) -> None:
    """Say whether the daemon would take this file; every fault with its line, and exit code 2.

    The files that it names are looked at too: bundle, certificate and recordings. Devices and ports are
    for `fac doctor`.
    """
    settings = load(file)
    problems = list(_missing(settings))
    if problems:
        raise ConfigError("\n".join(f"{file}: {problem}" for problem in problems))
    typer.echo(f"{file}: good")


def _missing(settings: Config) -> Iterator[str]:
    """What the configuration names and is not there, or is not what it should be."""
    from fac_model.bundle import Bundle, BundleError
    from fac_stream.evidence.key import read_key
    from fac_stream.server.tls import server_context

    try:
        Bundle.load(settings.model.bundle)
    except BundleError as error:
        yield f"model.bundle: {error}"
    try:
        server_context(settings.server.tls)
    except ConfigError as error:
        yield str(error)
    if settings.evidence.purpose is not None:
        try:
            read_key(settings.evidence)
        except ConfigError as error:
            yield f"evidence.key_file: {error}"
    for number, source in enumerate(settings.sources):
        if isinstance(source, FileSource) and not source.path.is_file():
            yield f"sources.{number}.path: {source.path}: no such file"
    yield from _faulty_hooks(settings)
    names = [source.call_id for source in settings.sources if source.call_id]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"sources: several have call_id {name!r}, and only one call at a time can"


def _faulty_hooks(settings: Config) -> Iterator[str]:
    """Hooks that could not even be started."""
    from fac_stream.alerts.apprise import notifier

    for hook in settings.alerts.apprise:
        try:
            notifier(hook)
        except ConfigError as error:
            yield str(error)
    for it in settings.alerts.commands:
        if not os.access(it.command[0], os.X_OK):
            yield f"alerts.commands: {it.name}: {it.command[0]}: no program that this user may run"


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
