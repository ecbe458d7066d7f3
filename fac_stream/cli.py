"""The command ``fac``.

Exit codes: 0 all well, 1 something failed, 2 wrong usage or configuration, 130 interrupted.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fac_stream import __version__
from fac_stream.commands import (
    alerts,
    audit,
    configuration,
    decide,
    devices,
    doctor,
    evaluate,
    evidence,
    explain,
    feedback,
    history,
    marks,  # noqa: F401 - its commands are among those of alerts
    replay,
    run,
    scan,
    training,
    watch,
)
from fac_stream.errors import ConfigError, FacError

app = typer.Typer(
    name="fac",
    help="Listens to live calls and says, while they go on, whether a voice is human or machine-made.",
    epilog="Start with: fac run --demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog="Example: fac run --config config.yaml --port 9000")(run.run)
app.command(epilog="Example: fac scan --json recordings/ > scores.jsonl")(scan.scan)
app.command(epilog="Example: fac explain call.wav --leg caller --out why.png")(explain.explain)
app.command(epilog="Example: fac replay alert_0f3c1b --wav alert.wav")(replay.replay)
app.command(epilog="Example: fac watch ws://127.0.0.1:8765/ws/events")(watch.watch)
app.command(epilog="Example: fac devices --json")(devices.devices)
app.command(epilog="Example: fac doctor --config config.yaml")(doctor.doctor)
app.command(epilog="Example: fac train predecessor corpus/ --out runs/first")(training.train)
app.command(epilog="Example: fac evaluate runs/first/bundle corpus/ --split test")(evaluate.evaluate)
app.command(epilog="Example: fac decide runs/first/bundle corpus/ --store --plot a.png")(decide.decide)
app.command(epilog="Example: fac average runs/a runs/b/bundle --data corpus/ --out runs/mean")(
    training.average
)
app.command(epilog="Example: fac join runs/a/bundle runs/b/bundle --data corpus/ --out runs/both")(
    training.join
)
app.command(epilog="Example: fac export runs/first/bundle")(training.export)
alerts.app.command("feedback", epilog="Example: fac alerts feedback feedback/")(feedback.feedback)
app.add_typer(alerts.app, name="alerts")
app.add_typer(audit.app, name="audit")
app.add_typer(configuration.app, name="config")
app.add_typer(evidence.app, name="evidence")
app.add_typer(history.app, name="history")
app.add_typer(training.corpus, name="corpus")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"fac-stream {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit; errors that were foreseen come as one message, without a traceback."""
    try:
        app(list(sys.argv[1:] if arguments is None else arguments), prog_name="fac")
    except FacError as error:
        typer.echo(f"fac: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
