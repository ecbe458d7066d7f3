"""A corpus from public repositories: ``fac corpus build``.

A plan (YAML) names repositories, each with its commit, its licence and rules that say which files are what.
Every recording is decoded, brought to 16 kHz, cut to speech and to pieces, and written as Ogg Opus at
40 kbit/s, both classes alike: what the sources' formats left behind is not told apart by the corpus's own.
"""

import csv
import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import av
import numpy as np
import soxr
from pydantic import Field, model_validator
from rich.console import Console
from rich.progress import track

from fac_model.quality import measure
from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.media import open_media
from fac_stream.errors import AudioError, FacError
from training.manifest import Label, Split
from training.pcm import FRAME, WINDOW, to_int16, trimmed
from training.repository import Blob, Commit, RepositoryError, obtain
from training.settings import Settings

BIT_RATE = 40_000
MAX_SAMPLES = 3_600 * 48_000
"""Of a decoded recording: an hour at 48 kHz, which takes 0.7 GB. A small file may hold days of silence."""
SOUNDS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".aif", ".aiff", ".webm"})
COLUMNS = (
    *("path", "label", "split", "kind", "system", "era", "year", "source", "licence", "speaker", "language"),
    *("original_rate_hz", "original_codec", "bandwidth_hz", "channel", "duration_s", "note"),
)

Row = dict[str, str]
Tell = Callable[[str], None]


class Piece(NamedTuple):
    """A clip before it is written."""

    name: str
    """Path in the repository, # and a number."""
    facts: Row
    """What is known of the file."""
    samples: Samples
    """Float32 ``[n]`` at 16 kHz."""


class Rule(Settings):
    """What some files of a repository are. The first rule that fits a file holds."""

    files: str
    """A pattern as the shell's, whose ``*`` also matches ``/``; or ``~`` and a regular expression."""
    label: Label
    split: Split
    kind: str = ""
    system: str = ""
    era: Literal["", "legacy", "neural", "modern", "local"] = ""
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    speaker: str = ""
    """A name, or, where it has a bracket, a regular expression over the path whose one group is the name."""
    language: str = ""
    channel: str = ""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """Files, evenly taken from all that fit."""
    join: bool = False
    """Put single words of a speaker together until they are as long as a clip must be."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.label == Label.FAKE and not self.system:
            raise ValueError("a fake needs its system")
        try:
            groups = re.compile(self.speaker).groups if "(" in self.speaker else 1
            if self.files.startswith("~"):
                re.compile(self.files[1:])
        except re.error as error:
            raise ValueError(f"files {self.files!r}, speaker {self.speaker!r}: {error}") from None
        if groups != 1:
            raise ValueError(f"speaker {self.speaker!r}: an expression needs exactly one group")
        return self

    def fits(self, path: str) -> bool:
        """Whether a file is one of these."""
        if self.files.startswith("~"):
            return re.search(self.files[1:], path) is not None
        return fnmatchcase(path, self.files)

    def speaker_of(self, path: str) -> str:
        """The name, empty where the expression does not fit."""
        if "(" not in self.speaker:
            return self.speaker
        found = re.search(self.speaker, path)
        return found.group(1) if found else ""


class Origin(Settings):
    """A repository, or another origin that is only named."""

    repository: str
    """``owner/name`` on GitHub, an https URL or the absolute path of a clone."""
    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    """None: named, and not built."""
    licence: str
    rules: tuple[Rule, ...] = ()


class Plan(Settings):
    """A whole corpus."""

    longest_s: Annotated[float, Field(ge=2.0, le=600.0)] = 12.0
    shortest_s: Annotated[float, Field(ge=0.2, le=10.0)] = 1.0
    origins: tuple[Origin, ...]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.shortest_s > self.longest_s:
            raise ValueError("no clip can be both as long as shortest_s and as short as longest_s")
        return self


def build(plan: Plan, out: Path, *, clones: Path | None = None, tell: Tell = print) -> tuple[int, int]:
    """Make a corpus folder with its ``manifest.csv``; returns the number of clips and of failed origins.

    Origins without commit or rules, and files that cannot be decoded, are told and passed over.

    Args:
        plan: what to build.
        out: a folder that does not hold a manifest yet; fetched repositories are kept in ``.fetched``.
        clones: where clones lie already, see ``training.repository.obtain``.
        tell: gets a line for each origin and each fault.

    Raises:
        FacError: the folder holds a corpus, there are no such clones, or there is nothing to write.
    """
    table = out / "manifest.csv"
    if table.exists():
        raise FacError(f"{table} exists; choose another folder, or remove it")
    if clones is not None and not clones.is_dir():
        raise FacError(f"{clones} is no folder of clones; without one, everything is fetched")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    failed = 0
    for origin in plan.origins:
        if origin.commit is None or not origin.rules:
            tell(f"{origin.repository}: passed over, named without {'rules' if origin.commit else 'commit'}")
            continue
        try:
            commit = obtain(origin.repository, origin.commit, clones, out / ".fetched")
            made = list(_origin(origin, commit, plan, out, tell))
        except RepositoryError as error:
            tell(f"{origin.repository}: failed: {error}")
            failed += 1
            continue
        tell(f"{origin.repository}: {len(made)} clips")
        rows += made
    if not rows:
        raise FacError("no clips were made: see the lines above")
    part = table.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(table)
    return len(rows), failed


def _origin(origin: Origin, commit: Commit, plan: Plan, out: Path, tell: Tell) -> Iterator[Row]:
    sounds = [blob for blob in commit.files() if Path(blob.path).suffix.lower() in SOUNDS]
    chosen: dict[int, list[Blob]] = defaultdict(list)
    for blob in sounds:
        number = next((n for n, rule in enumerate(origin.rules) if rule.fits(blob.path)), None)
        if number is not None:
            chosen[number].append(blob)
    for number, rule in enumerate(origin.rules):
        blobs = chosen[number]
        if not blobs:
            tell(f"{origin.repository}: no file fits {rule.files}")
            continue
        count = min(rule.at_most or len(blobs), len(blobs))
        blobs = [blobs[n * len(blobs) // count] for n in range(count)]
        for piece in _pieces(rule, commit, blobs, plan, tell):
            yield _write(origin, rule, piece, out)


def _pieces(rule: Rule, commit: Commit, blobs: Iterable[Blob], plan: Plan, tell: Tell) -> Iterator[Piece]:
    waiting: dict[str, list[Samples]] = defaultdict(list)
    shortest = round(plan.shortest_s * SAMPLE_RATE)
    for blob in track(list(blobs), rule.files, console=Console(stderr=True), transient=True):
        try:
            samples, facts = decode(commit.read(blob))
        except (AudioError, RepositoryError) as error:
            tell(f"{blob.path}: passed over: {error}")
            continue
        facts |= {"speaker": rule.speaker_of(blob.path), "original_codec": Path(blob.path).suffix[1:].upper()}
        speech = trimmed(samples)
        if rule.join:
            words = waiting[facts["speaker"]]
            words.append(speech)
            if sum(map(len, words)) < max(shortest, 2 * SAMPLE_RATE):
                continue
            speech = np.concatenate(words)
            words.clear()
            facts["note"] = "single words joined"
        for number, piece in enumerate(pieces(speech, round(plan.longest_s * SAMPLE_RATE))):
            if len(piece) >= shortest:
                yield Piece(f"{blob.path}#{number}", facts, piece)


def decode(content: bytes) -> tuple[Samples, Row]:
    """A recording as float32 ``[n]`` at 16 kHz, all channels mixed, and its rate and codec.

    Raises:
        AudioError: it is no sound, damaged, or longer than an hour at 48 kHz.
    """
    if content.startswith(b"version https://git-lfs"):
        raise AudioError("only a Git LFS pointer is in the repository")
    with open_media(io.BytesIO(content)) as media:
        blocks, total = [], 0
        for block in media.blocks():
            blocks.append(block.mean(axis=1))
            total += len(block)
            if total > MAX_SAMPLES:
                raise AudioError("longer than an hour at 48 kHz")
        facts = {"original_rate_hz": str(media.sample_rate)}
        mono = np.concatenate(blocks)
        if media.sample_rate != SAMPLE_RATE:
            mono = soxr.resample(mono, media.sample_rate, SAMPLE_RATE)
    if not np.isfinite(mono).all():
        raise AudioError("samples that are not finite")
    return mono.astype(np.float32), facts


def pieces(samples: Samples, longest: int) -> Iterator[Samples]:
    """Cut at the quietest 20 ms in the last third of each piece, so that no piece is longer."""
    while len(samples) > longest:
        frames = samples[longest * 2 // 3 : longest]
        frames = frames[: len(frames) // FRAME * FRAME].reshape(-1, FRAME)
        cut = longest * 2 // 3 + FRAME * int(np.argmin(np.square(frames).sum(axis=1))) + FRAME // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def _write(origin: Origin, rule: Rule, piece: Piece, out: Path) -> Row:
    name, facts, samples = piece
    key = hashlib.sha256(f"{origin.repository} {origin.commit} {name}".encode()).hexdigest()[:12]
    path = Path(rule.label) / key[0] / f"{key}.opus"
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    encode(samples, out / path)
    known = rule.model_dump(
        mode="json", include={"label", "split", "kind", "system", "era", "language", "channel"}
    )
    return {
        **known,
        **facts,
        "path": path.as_posix(),
        "year": str(rule.year or ""),
        "source": origin.repository,
        "licence": origin.licence,
        "bandwidth_hz": f"{float(measure(np.resize(samples, (1, WINDOW))).bandwidth_hz[0]):.0f}",
        "duration_s": f"{len(samples) / SAMPLE_RATE:.2f}",
        "note": "; ".join(filter(None, (facts.get("note", ""), f"from {name.rpartition('#')[0]}"))),
    }


def encode(samples: Samples, path: Path) -> None:
    """Float32 ``[n]`` at 16 kHz as Ogg Opus at 40 kbit/s; turned down where it would clip."""
    loudest = float(np.max(np.abs(samples)))
    linear = to_int16(samples / max(1.0, loudest))
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(linear[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for block in (frame, None):
            for packet in stream.encode(block):
                file.mux(packet)
