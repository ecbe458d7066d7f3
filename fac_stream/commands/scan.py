"""``fac scan``: score recordings."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.config_file import load

SUFFIXES = frozenset(
    """.3gp .aac .ac3 .aif .aiff .amr .au .avi .caf .flac .m4a .m4b .mka .mkv .mov .mp2 .mp3 .mp4 .mpga .oga
    .ogg .opus .spx .w64 .wav .webm .wma .wv""".split()  # noqa: SIM905 - shorter
)
"""What is taken from a folder; a file that is named itself is always tried."""


def scan(
    *,
    paths: Annotated[
        list[Path], typer.Argument(help="Recordings, and folders of recordings.", metavar="PATH…")
    ],
    as_json: AsJson = False,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="At once; by default one a processor.", metavar="N")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Score recordings, one line a file.

    A line has the prediction (fake above 0.5, else real) and its score, the more careful decision that a
    live call would have come to, the seconds of speech of all channels, and the path; behind it, in what
    the recording is unlike those that the model was calibrated on. --json has more.

    The order is the one given; folders are walked. A file that cannot be read gives a line with its
    error, and exit code 1 at the end.
    """
    settings = load(config)
    files = list(walk(paths))
    if not files:
        typer.echo("fac: no recordings found; name files, or folders that hold some", err=True)
        raise typer.Exit(1)
    from fac_stream.commands.workers import in_order, score_file

    wanted = min(processes or os.cpu_count() or 1, len(files))
    failed = 0
    with _progress(len(files)) as progress:
        for result in in_order([str(file) for file in files], partial(score_file, config=settings), wanted):
            failed += "error" in result
            typer.echo(json.dumps(result) if as_json else line(result, sys.stdout.encoding))
            if progress is not None:
                progress.advance(progress.task_ids[0])
    if failed:
        typer.echo(f"fac: {failed} of {len(files)} files could not be scored", err=True)
        raise typer.Exit(1)


def walk(paths: list[Path]) -> Iterator[Path]:
    """Files in the order given; folders are walked by name, and one that cannot be read stands for itself."""
    for path in paths:
        if path.is_dir():
            yield from _walk_folder(path)
        else:
            yield path


def _walk_folder(path: Path) -> Iterator[Path]:
    unreadable: list[Path] = []
    for folder, folders, names in os.walk(
        path, onerror=lambda error: unreadable.append(Path(error.filename))
    ):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES)
    yield from unreadable


def line(result: dict[str, Any], encoding: str) -> str:
    """One result as one line for people; whatever stands in names and errors, it can be printed."""
    path = result["path"]
    if "error" in result:
        text = f"error    -     -                    -  {path}: {result['error'].removeprefix(f'{path}: ')}"
    else:
        score = "-   " if result["fakeness_score"] is None else f"{result['fakeness_score']:.2f}"
        speech = f"{result['speech_s']:.1f} s"
        flags = f"  ({', '.join(result['quality'])})" if result["quality"] else ""
        text = f"{result['prediction']:<7}  {score}  {result['decision']:<10}  {speech:>8}  {path}{flags}"
    plain = "".join("?" if _hidden(character) else character for character in text)
    return plain.encode(encoding, "replace").decode(encoding)


def _hidden(character: str) -> bool:
    """Controls, line breaks, changes of direction, and the bytes of names that are no text."""
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}


def _progress(total: int) -> AbstractContextManager[Any]:
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    # Where the results go to the same terminal, rich prints them above the bar; a pipe stays untouched.
    progress = Progress(
        BarColumn(None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=False,
        transient=True,
    )
    progress.add_task("scan", total=total)
    return progress
