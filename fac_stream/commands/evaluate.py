"""``fac evaluate``: measure a bundle, and others' detectors beside it."""

from pathlib import Path
from typing import Annotated

import typer

from fac_stream.commands.training import Bundle, Data, training_part


def evaluate(
    *,
    bundle: Bundle,
    data: Data,
    split: Annotated[str, typer.Option(help="Which part of the data: train, dev or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Where report and plots go; runs/evaluate-SPLIT unless given.", metavar="FOLDER"),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="Some of the channels, with commas between; all unless given.", metavar="NAMES"),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Another detector, see docs/peers.md; repeat for more.", metavar="MODULE:NAME"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The most clips of each label.", min=1)] = None,
    probes: Annotated[bool, typer.Option(help="Fit the shortcut probes; decodes split train.")] = True,
    seed: Annotated[int, typer.Option(help="Of bootstraps and probes.", min=0)] = 0,
    store: Annotated[
        bool, typer.Option("--store", help="Keep figures and plots in the bundle too; test only.")
    ] = False,
) -> None:
    """Measure a bundle on labelled data.

    Prints what is aimed at and what is reached, by condition, kind and era, the worst cells and the peers;
    writes metrics.json, plots and report.html, which needs no other file.
    """
    with training_part("evaluate") as module:
        asked = {} if conditions is None else {"conditions": [name for name in conditions.split(",") if name]}
        module.evaluate(
            bundle,
            data,
            split,
            out or Path("runs") / f"evaluate-{split}",
            peers=peer or [],
            limit=limit,
            probes=probes,
            seed=seed,
            store=store,
            **asked,
        )
