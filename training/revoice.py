"""Fakes of one's own by any vocoder: ``fac corpus revoice``.

Copy synthesis: every human clip of the training part goes through a vocoder that the user names, and comes
back with its words, its level, its band and its place in time (Wang and Yamagishi 2023). The vocoder, its
code and its weights stay with the user.
"""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import FacError
from training.builder import COLUMNS, Row, decode, encode
from training.copies import frame_rms, interpolated, levelled, match_spectrum
from training.manifest import Clip, Label, Split, read_manifest
from training.pcm import FRAME
from training.plugin import imported
from training.vocoder import mel_filters, stft

SLACK = FRAME
"""Samples by which a vocoder's answer may be longer or shorter than the question."""
STILL = 1e-4
"""RMS below which a frame of the original is silence, -80 dBFS: the copy is then no louder."""
PEAK = 0.98
LIKE = 0.9
"""A copy less like its original than this comes of wrong analysis, most often."""
KEPT = ("original_rate_hz", "original_codec", "bandwidth_hz", "channel")
"""What a copy's row repeats of its original's, besides speaker and language."""

Vocoder = Callable[[Samples, int], npt.ArrayLike]
"""``vocoder(samples float32 [n], 16000)`` gives as many samples: the same words, said by the machine."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What the manifest says of the vocoder."""

    system: str
    source: str = ""
    licence: str = ""
    year: str = ""


def load(name: str) -> Vocoder:
    """The function that ``module:function`` names; modules of the working folder are found too.

    Raises:
        ConfigError: there is no such module or function.
    """
    return imported(name, "--vocoder")


def revoice(
    data: Path, vocoder: Vocoder, voice: Voice, out: Path, *, part: tuple[int, int] = (1, 1)
) -> tuple[int, float]:
    """Copy the training humans of a manifest; returns the number of new copies and their median likeness.

    Each copy is an Opus file below ``out`` and a line of ``out/manifest.csv``. What has a line there is not
    made again: a run that was stopped goes on, and other vocoders add to the same folder.

    Args:
        data: a manifest, or its folder.
        vocoder: gets and gives float32 ``[n]`` at 16 kHz.
        voice: the vocoder, as the new rows name it.
        out: a folder; one that holds a corpus of other columns is refused.
        part: ``(2, 5)`` copies every fifth clip, beginning with the second: five vocoders share the humans.

    Raises:
        ManifestError: the manifest cannot be used.
        AudioError: a clip cannot be decoded.
        FacError: there are no humans to copy, or what the vocoder gave is no copy.
    """
    clips = [clip for clip in read_manifest(data) if (clip.label, clip.split) == (Label.REAL, Split.TRAIN)]
    # Neighbours are of one origin: counting through them gives every vocoder its share of each.
    clips = sorted(clips, key=lambda clip: (clip.source, clip.name))[part[0] - 1 :: part[1]]
    if not clips:
        raise FacError(f"{data} has no clips with label real and split train in part {part[0]}/{part[1]}")
    facts = _facts(data)
    out.mkdir(parents=True, exist_ok=True)
    table = out / "manifest.csv"
    done = _done(table, voice.system)
    clips = [clip for clip in clips if clip.name not in done]
    likenesses: list[float] = []
    with table.open("a", newline="", encoding="utf-8") as file:
        _begin(file)
        for clip in track(clips, voice.system, console=Console(stderr=True)):
            original, _ = decode(clip.path.read_bytes())
            made = matched(_copy(vocoder, original, clip), original)
            likenesses.append(likeness(made, original))
            _write(file, _row(clip, facts.get(clip.name, {}), voice), made, out)
    return len(clips), float(np.median(likenesses)) if likenesses else 1.0


def matched(made: Samples, original: Samples) -> Samples:
    """Level (RMS), long-term spectrum and digital silence of the original, float32 ``[n]``, never clipped.

    A band that is empty in the original is empty in the copy. Where the level would clip the copy is softer.
    """
    made = levelled(match_spectrum(made - made.mean(), original), original)
    heard, wanted = frame_rms(made), frame_rms(original)
    gain = np.where(wanted < STILL, np.minimum(1.0, (wanted + 1e-7) / (heard + 1e-7)), 1.0)
    made = levelled(made * interpolated(gain, len(made)), original)
    return made * np.float32(min(1.0, PEAK / (float(np.max(np.abs(made))) + 1e-9)))


def likeness(made: Samples, original: Samples) -> float:
    """Correlation of the two log-mel spectrograms where the original is not silent; 1 is the same sound."""
    bands, _ = mel_filters(80, 1024, SAMPLE_RATE)
    both = [np.log(np.maximum(np.abs(stft(x, 1024, 256)) @ bands.T, 1e-4)) for x in (made, original)]
    level = both[1].mean(axis=1)
    pair = np.stack([x[level >= np.percentile(level, 30)].ravel() for x in both])
    if np.any(np.ptp(pair, axis=1) == 0.0):
        return 0.0
    return float(np.corrcoef(pair)[0, 1])


def _copy(vocoder: Vocoder, original: Samples, clip: Clip) -> Samples:
    """What the vocoder makes of a clip, as long as it."""
    made = np.asarray(vocoder(original, SAMPLE_RATE), np.float32)
    if made.ndim != 1 or abs(len(made) - len(original)) > SLACK:
        raise FacError(
            f"{clip.name}: the vocoder got {len(original)} samples and gave an array of shape {made.shape};"
            " it must give as many, in one row at 16 kHz"
        )
    if not np.isfinite(made).all():
        raise FacError(f"{clip.name}: the vocoder gave samples that are not finite")
    if original.any() and not made.any():
        raise FacError(f"{clip.name}: the vocoder gave silence")
    return np.pad(made, (0, max(0, len(original) - len(made))))[: len(original)]


def _facts(data: Path) -> dict[str, Row]:
    """The manifest's rows by path, with columns that a ``Clip`` has not; none where there is no manifest."""
    table = data / "manifest.csv" if data.is_dir() else data
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8-sig") as lines:
        return {row["path"].strip(): row for row in csv.DictReader(lines)}


def _done(table: Path, system: str) -> set[str]:
    """Names of the originals that a system has copied already."""
    if not table.exists():
        return set()
    with table.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or COLUMNS) != COLUMNS:
            raise FacError(f"{table} has other columns; choose another folder for the copies")
        rows = [row for row in reader if row["system"] == system]
    return {row["note"].removeprefix("copy of ") for row in rows}


def _begin(file: TextIO) -> None:
    if file.tell() == 0:
        csv.writer(file).writerow(COLUMNS)


def _row(clip: Clip, facts: Row, voice: Voice) -> Row:
    key = hashlib.sha256(f"{voice.system} {clip.name}".encode()).hexdigest()[:12]
    return {name: facts.get(name, "") for name in KEPT} | {
        "path": f"{key[:2]}/{key}.opus",
        "label": Label.FAKE,
        "split": Split.TRAIN,
        "kind": "vocoder",
        "system": voice.system,
        "era": "local",
        "year": voice.year,
        "source": voice.source,
        "licence": voice.licence,
        "speaker": clip.speaker,
        "language": clip.language,
        "note": f"copy of {clip.name}",
    }


def _write(file: TextIO, row: Row, made: Samples, out: Path) -> None:
    """The file first: a row in the manifest can be trusted."""
    path = out / row["path"]
    path.parent.mkdir(exist_ok=True)
    encode(made, path)
    csv.DictWriter(file, COLUMNS, restval="").writerow(row | {"duration_s": f"{len(made) / SAMPLE_RATE:.2f}"})
    file.flush()
