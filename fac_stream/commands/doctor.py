"""``fac doctor``: does this machine have what the daemon needs?"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import typer

from fac_stream.commands.check import Check
from fac_stream.commands.options import AsJson, ConfigFile


def doctor(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check whether this machine is ready.

    Looks at configuration, model, GPU, port and decoders, and records the microphone for two seconds.
    Exit code 1 where something would keep the daemon from working.
    """
    failed = False
    for examine in checks(config):
        check = _guarded(examine)
        failed |= check.status == "fail"
        typer.echo(json.dumps(asdict(check)) if as_json else check.line())
    if failed:
        raise typer.Exit(1)


def checks(config: Path | None) -> list[Callable[[], Check]]:
    """All checks; those after a bad configuration use the defaults."""
    from fac_stream.commands import examinations
    from fac_stream.config import Config
    from fac_stream.config_file import load
    from fac_stream.errors import ConfigError

    fault = ""
    try:
        settings = load(config)
    except ConfigError as error:
        settings, fault = Config(), str(error)
    return [
        examinations.python,
        lambda: examinations.configuration(config, fault),
        lambda: examinations.model(settings.model),
        lambda: examinations.gpu(settings.model),
        lambda: examinations.port(settings.server),
        examinations.decoders,
        lambda: examinations.microphone(settings),
    ]


def _guarded(examine: Callable[[], Check]) -> Check:
    try:
        return examine()
    except Exception as error:  # noqa: BLE001 - a doctor who collapses helps nobody
        return Check("doctor", "fail", f"{type(error).__name__}: {error}", "a fault of fac itself: report it")
