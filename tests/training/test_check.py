"""What makes a corpus dishonest is found, and what does not is not."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from fac_stream.cli import app
from tests.tones import RATE, sound
from training import fingerprint
from training.check import check, report
from training.fingerprint import Sound, alike, listen, print_of
from training.manifest import Clip, Label, Split
from training.pcm import to_int16


def clip(name: str, label: Label, split: Split, **known: str) -> Clip:
    """A clip whose file exists."""
    return Clip(Path(__file__), label, split, name, licence="CC0-1.0", **known)


FIT = [
    clip("a", Label.REAL, Split.TRAIN, speaker="Ann", source="x"),
    clip("b", Label.REAL, Split.DEV, speaker="Bob", source="y"),
    clip("c", Label.REAL, Split.TEST, speaker="Ann", source="z"),
    clip("d", Label.FAKE, Split.TRAIN, generator="one", source="x", original="a"),
    clip("e", Label.FAKE, Split.DEV, generator="two", source="y"),
    clip("f", Label.FAKE, Split.TEST, generator="three", source="z"),
]
"""Nothing to complain about: the same name in two sources is two people."""


def heard(clips: list[Clip], *same: int) -> list[Sound]:
    """Every clip sounds like itself, but those numbers, which sound alike."""
    return [Sound(2.0, "same" if n in same else str(n)) for n in range(len(clips))]


def found(clips: list[Clip], *same: int) -> set[tuple[str, str]]:
    """Severity and topic of all findings."""
    return {(finding.severity, finding.topic) for finding in report(clips, heard(clips, *same)).findings}


def test_a_fit_corpus_has_no_findings():
    """Disjoint speakers, generators, pages and recordings; both classes everywhere."""
    assert found(FIT) == set()
    assert report(FIT, heard(FIT)).honest


@pytest.mark.parametrize(
    ("number", "change", "finding"),
    [
        (1, {"speaker": "Ann", "source": "x"}, ("fault", "speakers")),
        (4, {"generator": "one"}, ("fault", "generators")),
        (4, {"original": "a"}, ("fault", "originals")),
        (4, {"source": "x"}, ("warning", "pages")),
        (4, {"source": "nowhere"}, ("warning", "balance")),
        (4, {"label": Label.CODEC}, ("warning", "balance")),
        (0, {"licence": "None stated"}, ("warning", "licence")),
        (0, {"path": Path("gone.wav")}, ("fault", "files")),
    ],
)
def test_a_leak_is_found(number, change, finding):
    """One changed field of one clip gives that finding, and a fault makes the corpus dishonest."""
    clips = [replace(known, **change) if n == number else known for n, known in enumerate(FIT)]
    sounds = heard(clips)
    if "path" in change:
        sounds[number] = Sound(fault="cannot decode gone.wav")
    result = report(clips, sounds)
    assert finding in {(found.severity, found.topic) for found in result.findings}
    assert result.honest == (finding[0] == "warning")


def test_double_recordings_are_found():
    """Across splits and across labels a fault; within a split a warning."""
    more = [*FIT, clip("g", Label.REAL, Split.TRAIN, source="x", speaker="Ann")]
    assert found(FIT, 0, 1) == {("fault", "doubles")}
    assert found(FIT, 0, 3) == {("fault", "doubles")}
    assert found(more, 0, 6) == {("warning", "doubles")}


def test_the_report_counts_hours_speakers_and_generators():
    """Cells of the split's table and the lines that show them."""
    result = report(FIT, heard(FIT))
    cell = result.splits["train"]["real"]
    assert (cell.clips, cell.speakers, round(cell.hours * 3600)) == (1, 1, 2)
    assert result.sources["x"]["train"]["fake"].generators == 1
    assert any("1 +" in line and line.endswith(" x") for line in result.lines())
    assert json.loads(json.dumps(result.as_dict()))["honest"] is True


def test_a_second_coding_is_recognised():
    """Gain, noise, Opus and a later start leave a recording's print; another recording has another."""
    swell = (1 + np.sin(np.arange(38_400) / 1_700)).astype(np.float32) / 2
    voice = sound("real", 1) * swell
    file = io.BytesIO()
    soundfile.write(file, voice, RATE, format="OGG", subtype="OPUS")
    file.seek(0)
    noise = np.random.default_rng(0).normal(0, 0.002, len(voice))
    others = [voice * 0.2, soundfile.read(file)[0], voice + noise, voice[200:]]
    for other in others:
        assert print_of(to_int16(voice)) @ print_of(to_int16(other)) > fingerprint.LIKENESS
    assert print_of(to_int16(voice)) @ print_of(to_int16(sound("real", 1) * (1 - swell))) < 0.6
    assert print_of(np.zeros(4_000, np.int16)) is None


def test_likeness_is_searched_among_neighbours(monkeypatch):
    """Every pair is found whatever the block; exact doubles and other lengths are left out."""
    one, other = np.eye(2, 256, dtype=np.float32)
    sounds = [
        Sound(2.00, "a", one),
        Sound(9.00, "b", one),
        Sound(2.01, "c", one),
        Sound(2.00, "d", other),
        Sound(2.00, "a", one),
        Sound(3.00, "e", None),
    ]
    for block in (1, 2, 100):
        monkeypatch.setattr(fingerprint, "BATCH", block)
        assert list(alike(sounds)) == [(0, 2)]


def test_files_are_listened_to_in_order(tones, tmp_path):
    """One result a file; what cannot be decoded says why and stops nothing."""
    (tmp_path / "b.wav").write_text("no sound")
    good = next(tones.glob("*.wav"))
    first, bad, last = listen([good, tmp_path / "b.wav", good])
    assert first.digest == last.digest != ""
    assert first.seconds == pytest.approx(2.4, abs=0.1)
    assert "cannot decode" in bad.fault


def test_a_table_with_missing_files_is_checked(tmp_path):
    """The check lists them all, where the reader stops at the first."""
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + "gone.wav,real,train\n" * 9)
    (files,) = (finding for finding in check(tmp_path).findings if finding.topic == "files")
    assert files.count == 9


def test_the_command_says_it_by_exit_code(tones):
    """The fixture's pages and buzzer are in all splits: exit code 1, and every finding as JSON."""
    result = CliRunner().invoke(app, ["train", "predecessor", str(tones), "--check", "--json"])
    assert result.exit_code == 1
    topics = {finding["topic"] for finding in json.loads(result.stdout)["findings"]}
    assert {"speakers", "generators", "pages"} <= topics


def test_a_training_needs_a_folder(tones):
    """Without --check, --out is asked for in words."""
    result = CliRunner().invoke(app, ["train", "predecessor", str(tones)])
    assert result.exit_code == 2
    assert "--out" in result.output
