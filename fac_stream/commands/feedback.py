"""``fac alerts feedback``: what people said of alerts, as a corpus."""

import csv
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fac_stream.commands.alerts import Database, opened
from fac_stream.commands.files import private
from fac_stream.commands.options import AsJson, ConfigFile, KeyFile
from fac_stream.config_file import load
from fac_stream.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from fac_stream.audio.frames import Samples
    from fac_stream.config import Config
    from fac_stream.evidence.folder import Folder

LABELS = {"confirmed_fake": "fake", "false_alarm": "real"}
MIN_S = 1.0
"""Pieces between gaps that are shorter teach nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest, in the columns that `fac train` reads and some that it leaves alone."""

    path: str
    label: str
    split: str
    speaker: str
    generator: str
    source: str
    licence: str
    alert_id: str
    purpose: str
    bundle: str
    raised_at: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to be."""

    row: Row
    samples: "Samples"


def feedback(
    *,
    out: Annotated[
        Path, typer.Argument(help="A folder that is new or empty.", metavar="OUT", file_okay=False)
    ],
    config: ConfigFile = None,
    database: Database = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Export alerts that were confirmed or rejected, and whose audio is kept, to train on.

    Confirmed fakes are labelled fake, false alarms real; all are in the split train. The clips are not
    encrypted: the folder is this user's only. Each export of an alert stands in the audit log. Evidence that
    cannot be read is told and left out; exit code 1 then.
    """
    from fac_stream.evidence.folder import Folder
    from fac_stream.evidence.reading import with_key

    settings, folder = with_key(load(config), key_file), Folder()
    with opened(config, database) as file:
        verdicts = list(_verdicts(folder, file))
    _make(out)
    clips, faults = _clips(settings, folder, verdicts)
    chosen = _without_doubles(clips)
    _write(out, chosen)
    for fault in faults:
        typer.echo(f"fac: {fault}", err=True)
    counts = {label: sum(clip.row.label == label for clip in chosen) for label in LABELS.values()}
    if as_json:
        told = {"manifest": str(out / "manifest.csv"), **counts, "left_out": len(clips) - len(chosen)}
        typer.echo(json.dumps(told | {"faults": faults}))
    else:
        typer.echo(f"{counts['fake']} fake and {counts['real']} real clips in {out / 'manifest.csv'}")
    if faults:
        raise typer.Exit(1)


def _verdicts(folder: "Folder", file: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Alerts with evidence of which somebody said what they were, and the label that this makes."""
    from fac_stream.alerts.records import read

    for entry in folder.entries():
        record = read(entry.alert_id, file)
        if record is not None and record.verdict in LABELS:
            yield entry.alert_id, LABELS[record.verdict]


def _make(out: Path) -> None:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError(f"{out}: is not empty, and nothing in it is overwritten; name a new folder")
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror}") from None


def _clips(
    settings: "Config", folder: "Folder", verdicts: Sequence[tuple[str, str]]
) -> tuple[list[Clip], list[str]]:
    """The clips, and why there are none of some alerts."""
    from fac_stream.audio.frames import SAMPLE_RATE
    from fac_stream.evidence.reading import read_evidence

    clips: list[Clip] = []
    faults: list[str] = []
    salt = secrets.token_bytes(16)
    for alert_id, label in verdicts:
        try:
            header, excerpt = read_evidence(settings, folder, alert_id, "feedback")
        except StorageError as error:
            faults.append(str(error))
            continue
        voice = f"{header.call_id}\n{excerpt.record.leg}".encode()
        speaker = hashlib.sha256(salt + voice).hexdigest()[:12]
        sounds = [it for it in excerpt.audio if len(it) >= MIN_S * SAMPLE_RATE]
        for number, samples in enumerate(sounds, 1):
            row = Row(
                path=f"{alert_id}{f'-{number}' if len(sounds) > 1 else ''}.wav",
                label=label,
                split="train",
                speaker=speaker,
                generator="unknown" if label == "fake" else "",
                source="feedback",
                licence=f"kept for: {header.purpose}",
                alert_id=alert_id,
                purpose=header.purpose,
                bundle=header.bundle,
                raised_at=header.raised_at.isoformat(),
            )
            clips.append(Clip(row, samples))
    return clips, faults


def _without_doubles(clips: Sequence[Clip]) -> list[Clip]:
    """Several rules may have fired at one moment: their sound once, and not at all where labels disagree."""
    same: dict[bytes, list[Clip]] = {}
    for clip in clips:
        same.setdefault(hashlib.sha256(clip.samples.tobytes()).digest(), []).append(clip)
    return [group[0] for group in same.values() if len({clip.row.label for clip in group}) == 1]


def _write(out: Path, clips: Sequence[Clip]) -> None:
    """The clips, then the manifest: a folder with one is whole."""
    from fac_stream.evidence.wav import write_wav

    for clip in clips:
        write_wav(out / clip.row.path, clip.samples)
    try:
        manifest = private(out / "manifest.csv", new=True)
        with os.fdopen(manifest, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(Row.__dataclass_fields__))
            table.writeheader()
            table.writerows(asdict(clip.row) for clip in clips)
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror}") from None
