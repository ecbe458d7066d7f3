"""Which recordings there are: one ``Clip`` a row of a CSV file, or a file of a folder of folders.

The CSV has a header with ``path``, ``label`` and ``split``, and where known ``speaker``, ``generator`` (or
``system``), ``source``, ``licence``, ``kind``, ``era``, ``language`` and ``original`` (the human recording
that a copy was made of); other columns are left alone. Paths are relative to the CSV's folder. A folder is
read as its ``manifest.csv`` or, without one, as ``training|validation|testing / real|fake / **``, the layout
of the Fake-or-Real corpus.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from fac_stream.errors import FacError

MAX_ROWS = 2_000_000
MAX_FIELD = 4_096
"""Characters."""
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"})
SHOWN_ERRORS = 5

Choice = TypeVar("Choice")


class ManifestError(FacError):
    """The manifest cannot be used: file, lines and reasons."""


class Label(StrEnum):
    """What a clip is. Only the first two are classes; the positive one is ``fake``."""

    REAL = "real"
    FAKE = "fake"
    CODEC = "codec"
    NONSPEECH = "nonspeech"


class Split(StrEnum):
    """``train`` to fit, ``dev`` to choose and calibrate, ``test`` to report."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


SPLIT_WORDS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "dev": Split.DEV,
    "validation": Split.DEV,
    "test": Split.TEST,
    "testing": Split.TEST,
}


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording. Text that the manifest does not give is empty."""

    path: Path
    label: Label
    split: Split
    name: str = ""
    """The path as the manifest has it; copies name their original by it."""
    speaker: str = ""
    generator: str = ""
    source: str = ""
    licence: str = ""
    kind: str = ""
    era: str = ""
    original: str = ""
    language: str = ""


def read_manifest(data: Path, *, files_exist: bool = True) -> list[Clip]:
    """All clips of a CSV file or folder, in the manifest's order.

    Args:
        data: the CSV, its folder, or a folder of folders.
        files_exist: refuse a table that names a file which is not there.

    Raises:
        ManifestError: with the line of what is wrong and what to do about it.
    """
    if data.is_dir() and not (data / "manifest.csv").is_file():
        return _read_folder(data)
    table = data / "manifest.csv" if data.is_dir() else data
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            clips = _read_table(table, lines, files_exist=files_exist)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"cannot read the manifest {table}: {error}") from error
    if not clips:
        raise ManifestError(f"{table} lists no clips")
    return clips


def _read_table(table: Path, lines: Iterator[str], *, files_exist: bool) -> list[Clip]:
    reader = csv.DictReader(lines)
    missing = {"path", "label", "split"} - set(reader.fieldnames or ())
    if missing:
        raise ManifestError(f"{table}, line 1: the header lacks {', '.join(sorted(missing))}")
    clips: list[Clip] = []
    errors: list[str] = []
    for row in reader:
        if len(clips) >= MAX_ROWS:
            raise ManifestError(f"{table}: more than {MAX_ROWS} rows; split the manifest")
        try:
            clips.append(_clip(table.parent, row, file_exists=files_exist))
        except ValueError as error:
            errors.append(f"{table}, line {reader.line_num}: {error}")
            if len(errors) == SHOWN_ERRORS:
                break
    if errors:
        raise ManifestError("\n".join(errors))
    return clips


def _clip(folder: Path, row: dict[str, str | None], *, file_exists: bool) -> Clip:
    """One row; ValueError says what is wrong with it."""
    if None in row:
        raise ValueError("more fields than the header has columns")
    text = {name: (value or "").strip() for name, value in row.items()}
    if any(len(value) > MAX_FIELD for value in text.values()):
        raise ValueError(f"a field is longer than {MAX_FIELD} characters")
    if not text["path"]:
        raise ValueError("the path is empty")
    path = folder / text["path"]
    if file_exists and not path.is_file():
        raise ValueError(f"no such file: {path}")
    # A note "copy of real/1.opus" is how our corpus names the original.
    before, _, copied = text.get("note", "").partition("copy of ")
    return Clip(
        path=path,
        label=_choice("label", text["label"], {str(label): label for label in Label}),
        split=_choice("split", text["split"], SPLIT_WORDS),
        name=text["path"],
        speaker=text.get("speaker", ""),
        generator=text.get("generator") or text.get("system", ""),
        source=text.get("source", ""),
        licence=text.get("licence", ""),
        kind=text.get("kind", ""),
        era=text.get("era", ""),
        original=text.get("original") or ("" if before else copied),
        language=text.get("language", ""),
    )


def _choice(column: str, word: str, choices: dict[str, Choice]) -> Choice:
    if word.lower() not in choices:
        raise ValueError(f"{column} is {word!r}; use one of {', '.join(choices)}")
    return choices[word.lower()]


def _read_folder(folder: Path) -> list[Clip]:
    clips: list[Clip] = []
    for word, split in SPLIT_WORDS.items():
        for label in Label:
            for path in sorted((folder / word / label).rglob("*")):
                if path.suffix.lower() not in SUFFIXES or not path.is_file():
                    continue
                if len(clips) >= MAX_ROWS:
                    raise ManifestError(f"{folder}: more than {MAX_ROWS} files; use smaller folders")
                name = path.relative_to(folder)
                # Without a table the folder that holds the file is the best guess at where it comes from.
                clips.append(Clip(path, label, split, name.as_posix(), source="/".join(name.parts[2:-1])))
    if not clips:
        raise ManifestError(
            f"{folder} has neither a manifest.csv nor sound files under"
            " training|validation|testing/real|fake; see the documentation of training.manifest"
        )
    return clips
