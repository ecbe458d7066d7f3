"""``fac decide``: fit how a bundle decides, and measure what that costs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fac_stream.commands.options import AsJson
from fac_stream.commands.training import Bundle, Data, training_part


def decide(
    *,
    bundle: Bundle,
    data: Data,
    store: Annotated[
        bool, typer.Option("--store", help="Keep thresholds and figures in the bundle; its id stays.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves.", metavar="PNG", dir_okay=False)] = None,
    limit: Annotated[int | None, typer.Option(help="The most clips of each label.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a bundle's thresholds and measure its decisions.

    Fits on dev, measures on calls made of test.

    Prints, as Markdown: false alarms per 100 hours of human speech, synthetic calls detected, seconds of
    speech to the alarm, for one voice wideband and by telephone and for more voices on a leg; and what the
    speech gate lets through. `fac train`, `fac average` and `fac join` fit the thresholds, too; this
    refreshes them.
    """
    with training_part("decide") as module:
        figures = module.decide(bundle, data, store=store, limit=limit, plot=plot)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    with training_part("decision_page") as module:
        typer.echo(module.page(figures), nl=False)
