"""``fac train``, ``fac export``, ``fac corpus``: make a model of one's own."""

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fac_stream.commands.options import AsJson
from fac_stream.errors import ConfigError, FacError

Bundle = Annotated[Path, typer.Argument(help="Folder of the bundle.", metavar="BUNDLE")]
Data = Annotated[Path, typer.Argument(help="Manifest CSV, or a folder with real/ and fake/.", metavar="DATA")]


def train(
    *,
    recipe: Annotated[
        Path, typer.Argument(help="YAML file, or the name of a recipe that comes with it.", metavar="RECIPE")
    ],
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", metavar="FOLDER", file_okay=False)
    ] = None,
    begin: Annotated[
        Path | None,
        typer.Option("--from", help="Begin with the weights of this bundle or run.", metavar="FOLDER"),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle or run that gives its part of the labels; repeatable.", metavar="FOLDER"),
    ] = None,
    hints: Annotated[
        Path | None,
        typer.Option(help="What fac corpus embed wrote, for a recipe with hints.", metavar="FILE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished epoch.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only examine recipe and data: files, doubles, split, balance.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, calibrate and save a bundle.

    With --check nothing is trained; exit code 1 where the data would make the figures dishonest.
    """
    if check:
        _check(recipe, data, as_json=as_json)
        return
    if out is None:
        raise typer.BadParameter("a training needs --out FOLDER", param_hint="--out")
    with training_part("train") as module:
        bundle = module.train(
            shipped(recipe, "recipe"),
            data,
            out,
            begin=begin,
            teachers=teacher or (),
            hints=hints,
            resume=resume,
        )
        typer.echo(bundle)


def average(
    *,
    folders: Annotated[
        list[Path], typer.Argument(help="Bundles or runs, two or more of one lineage.", metavar="FOLDERS")
    ],
    data: Annotated[
        Path, typer.Option("--data", help="Manifest CSV or folder; dev calibrates.", metavar="DATA")
    ],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.", metavar="FOLDER", file_okay=False)],
) -> None:
    """Average the weights of bundles or runs.

    They must be of one lineage, trained on from each other; the new bundle is calibrated on dev.
    """
    with training_part("average") as module:
        typer.echo(module.average(folders, data, out))


def join(
    *,
    folders: Annotated[list[Path], typer.Argument(help="Bundles, two to eight.", metavar="BUNDLES")],
    data: Annotated[
        Path, typer.Option("--data", help="Manifest CSV or folder; dev calibrates.", metavar="DATA")
    ],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.", metavar="FOLDER", file_okay=False)],
) -> None:
    """Make one bundle of several, whose logit is the mean of theirs.

    Each keeps its own network and front end, so a window costs as much as in all of them; the new bundle has
    the first one's name and is calibrated on dev.
    """
    with training_part("join") as module:
        typer.echo(module.join(folders, data, out))


def export(
    *,
    bundle: Bundle,
    int8: Annotated[
        Path | None,
        typer.Option(
            "--int8", help="Quantise it, by what dev of this corpus tells of its values.", metavar="DATA"
        ),
    ] = None,
) -> None:
    """Write a bundle's ONNX graph.

    It is checked to score as torch does; ONNX Runtime scores with it where there is no GPU. With --int8 its
    convolutions are 8-bit: smaller, and faster on most processors; what that costs on dev is printed.
    """
    if int8 is None:
        with training_part("export") as module:
            module.export_onnx(bundle)
        return
    with training_part("quantise") as module:
        for name, found in module.quantise(bundle, int8).items():
            typer.echo(f"{name:8} EER {found['eer']:.1%}  AUC {found['auc']:.3f}")


corpus = typer.Typer(help="Make a corpus to train on.", no_args_is_help=True, rich_markup_mode=None)


@corpus.command(epilog="Example: fac corpus build corpus --out corpus/ --clones clones/")
def build(
    *,
    plan: Annotated[
        Path, typer.Argument(help="YAML file, or `corpus` for the one that comes with it.", metavar="PLAN")
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the corpus; it must not hold one.", metavar="FOLDER", file_okay=False),
    ],
    clones: Annotated[
        Path | None,
        typer.Option(help="Folder with clones, each at OWNER/NAME.", metavar="FOLDER", file_okay=False),
    ] = None,
) -> None:
    """Fetch, decode, cut and write the recordings that a plan names, with a manifest.

    A repository is fetched at its commit unless there is a clone; one without a commit is passed over. Mind
    the licences: they are the sources', and the manifest repeats them. Exit code 1 where a repository could
    not be had.
    """
    with training_part("builder") as module:
        settings = module.Plan.load(shipped(plan, "plan"))
        clips, failed = module.build(
            settings, out, clones=clones, tell=lambda text: typer.echo(text, err=True)
        )
    typer.echo(f"{clips} clips in {out / 'manifest.csv'}")
    if failed:
        raise typer.Exit(1)


@corpus.command(epilog="Example: fac corpus revoice corpus/ --vocoder mine:gan --system GAN --out copies/")
def revoice(
    *,
    data: Data,
    vocoder: Annotated[
        str, typer.Option(help="Python function: samples and 16000 to samples.", metavar="MODULE:NAME")
    ],
    system: Annotated[str, typer.Option(help="The vocoder's name in the manifest.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the copies and their manifest.", metavar="FOLDER", file_okay=False)
    ],
    source: Annotated[str, typer.Option(help="Where its weights come from.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "",
    year: Annotated[int | None, typer.Option(help="Of the vocoder.", min=1900, max=2100)] = None,
    part: Annotated[str, typer.Option(help="2/5: every fifth clip from the 2nd.", metavar="K/N")] = "1/1",
) -> None:
    """Make fakes of the training humans with a vocoder of yours: same words, level, band and timing.

    Each copy lies in the folder with a row in its manifest.csv; a run that was stopped goes on where it was.
    """
    number, _, count = part.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter("give K/N with K from 1 to N", param_hint="--part")
    with training_part("revoice") as module:
        voice = module.Voice(system, source, licence, str(year or ""))
        share = (int(number), int(count))
        made, likeness = module.revoice(data, module.load(vocoder), voice, out, part=share)
    typer.echo(f"{made} new copies in {out / 'manifest.csv'}; median likeness to originals {likeness:.2f}")
    if likeness < module.LIKE:
        typer.echo(f"below {module.LIKE}: compare the vocoder's analysis with its training code", err=True)


@corpus.command(epilog="Example: fac corpus embed corpus/ --by mine:embed --out hints.npz")
def embed(
    *,
    data: Data,
    by: Annotated[
        str, typer.Option(help="Python function: samples and 16000 to numbers.", metavar="MODULE:NAME")
    ],
    out: Annotated[Path, typer.Option(help="The file, npz.", metavar="FILE", dir_okay=False)],
) -> None:
    """Note what a pretrained network of yours hears in each training clip: hints for fac train --hints."""
    with training_part("hints") as module:
        count = module.embed(data, by, out)
    typer.echo(f"{count} new clips in {out}")


def _check(recipe: Path, data: Path, *, as_json: bool) -> None:
    with training_part("recipe") as module:
        module.Recipe.load(shipped(recipe, "recipe"))
    with training_part("check") as module:
        report = module.check(data)
    for line in [json.dumps(report.as_dict())] if as_json else report.lines():
        typer.echo(line)
    if not report.honest:
        raise typer.Exit(1)


@contextmanager
def training_part(part: str) -> Iterator[Any]:
    """A module of ``training``; what it needs is an extra, and what a bundle lacks is said in words."""
    from fac_model.bundle import BundleError

    try:
        yield importlib.import_module(f"training.{part}")
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.partition(".")[0] in ("training", "fac_model", "fac_stream"):
            raise
        raise FacError(f"{name} is not installed; it comes with: pip install 'fac-stream[train]'") from None
    except BundleError as error:
        raise FacError(str(error)) from None


def shipped(given: Path, kind: Literal["recipe", "plan"]) -> Path:
    """The file that is given, or the one of that name that comes with the package.

    Raises:
        ConfigError: there is neither; it names those that come with the package.
    """
    if given.is_file() or given.suffix or len(given.parts) > 1:
        return given
    import training

    folder = Path(training.__file__).parent / "recipes"
    # The one plan, of the corpus, lies among the recipes that are trained on it.
    names = sorted(path.stem for path in folder.glob("*.yaml") if (path.stem == "corpus") == (kind == "plan"))
    if str(given) not in names:
        raise ConfigError(f"no file and no {kind} {str(given)!r}; there are: {', '.join(names)}")
    return folder / f"{given}.yaml"
