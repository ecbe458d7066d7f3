import json
import os
import subprocess
import sys

import pytest
import soundfile

from fac_stream.commands import workers
from fac_stream.commands.scan import SUFFIXES, walk
from fac_stream.errors import ScorerError
from tests.fakes import FakeGate, FakeScorer, scored_at


@pytest.fixture
def judges(monkeypatch):
    """Scores by frequency, see ``tests.fakes``, in this process."""
    monkeypatch.setattr(workers, "_judges", lambda model, speech: (FakeScorer(), FakeGate()))


@pytest.fixture
def recording(tmp_path):
    """``recording(name, score)``: a WAV that the fake scorer gives this score."""

    def make(name, score, seconds=6.0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, scored_at(score, seconds), 16_000)
        return path

    return make


def rows(outcome):
    """The JSON objects on standard output."""
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_one_line_a_file_in_the_order_given(fac, judges, recording):
    """The fields are the documented ones; the timeline is in them."""
    fake, real = recording("b.wav", 0.96), recording("a.wav", 0.04)

    outcome = fac("scan", "--json", "--processes", "1", fake, real)

    assert outcome.code == 0
    assert outcome.err == ""
    first, second = rows(outcome)
    assert (first["path"], first["prediction"], first["decision"]) == (str(fake), "fake", "synthetic")
    assert (second["path"], second["prediction"], second["decision"]) == (str(real), "real", "human")
    assert first["fakeness_score"] == pytest.approx(0.96, abs=0.01)
    assert second["confidence"] == pytest.approx(0.96, abs=0.01)
    assert first["speech_s"] > 0
    assert {"leg", "start_s", "end_s", "score"} <= set(first["windows"][0])


def test_a_file_that_cannot_be_read_is_a_line_with_its_error(fac, judges, recording, tmp_path):
    """The others are scored; the exit code says that something is missing."""
    good = recording("good.wav", 0.1)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not a recording")

    outcome = fac("scan", "--json", "--processes", "1", bad, tmp_path / "none.wav", good)

    assert outcome.code == 1
    assert "2 of 3 files could not be scored" in outcome.err
    first, second, third = rows(outcome)
    assert set(first) == set(second) == {"path", "error"}
    assert third["prediction"] == "real"


def test_an_unforeseen_error_costs_its_file_only(fac, recording, monkeypatch):
    """A fault of ours on one strange file does not end a scan of thousands, nor pass for a score."""

    class Broken(FakeScorer):
        def score(self, windows):
            raise ZeroDivisionError("strange")

    monkeypatch.setattr(workers, "_judges", lambda model, speech: (Broken(), FakeGate()))

    outcome = fac("scan", "--json", recording("a.wav", 0.5))

    assert outcome.code == 1
    assert rows(outcome)[0]["error"] == "internal error: ZeroDivisionError: strange"


def test_a_model_that_fails_ends_the_scan(fac, recording, monkeypatch):
    """One message, rather than the same error for every file."""

    def broken(model, speech):
        raise ScorerError("no such bundle")

    monkeypatch.setattr(workers, "_judges", broken)

    outcome = fac("scan", "--json", "--processes", "1", recording("a.wav", 0.5), recording("b.wav", 0.5))

    assert (outcome.code, outcome.out, outcome.err) == (1, "", "fac: no such bundle\n")


def test_a_recording_unlike_those_of_calibration_says_so(fac, judges, tmp_path):
    """What most of its windows are flagged with stands behind the path."""
    soundfile.write(tmp_path / "faint.wav", 0.02 * scored_at(0.5, 4.0), 16_000)

    outcome = fac("scan", "--processes", "1", tmp_path / "faint.wav")

    assert outcome.out.rstrip().endswith("faint.wav  (quiet)")


def test_lines_for_people_are_plain_text(fac, judges, recording):
    """Not a terminal: no colours, no bar."""
    outcome = fac("scan", "--processes", "1", recording("a.wav", 0.96))

    assert outcome.out.split()[:5] == ["fake", "0.96", "synthetic", "6.0", "s"]
    assert "\x1b" not in outcome.out + outcome.err


ODD = "\udcff\n\x1b[2J\u202e\u2028ü 録.wav"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "???[2J??ü 録.wav"), ("latin-1", "???[2J??ü ?.wav")]
)
def test_any_name_is_one_line(recording, tmp_path, encoding, shown):
    """Bytes that are no text, line breaks and commands to the terminal neither end a scan nor are printed."""
    good, bad = recording("a.wav", 0.5, seconds=2.5).rename(tmp_path / ODD), tmp_path / f"bad{ODD}"
    bad.write_bytes(b"")
    command = [sys.executable, "-m", "fac_stream", "scan", "--processes", "1", bad, good]
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": f"{encoding}:strict"}

    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
    lines = done.stdout.decode(encoding).split("\n")
    objects = subprocess.run(
        [*command, "--json"], capture_output=True, check=False, timeout=60, env=environment
    )

    assert lines[0].startswith("error")
    assert lines[0].count(f"{tmp_path}/bad{shown}: ") == 1
    assert lines[0].count("bad") == 1
    assert lines[1].endswith(f"{tmp_path}/{shown}")
    assert len(lines) == 3
    assert [json.loads(row)["path"] for row in objects.stdout.splitlines()] == [str(bad), str(good)]


def test_folders_are_walked_by_name(tmp_path):
    """Recordings below a folder, in an order that does not change; what else lies there is left out."""
    for name in ("b/2.WAV", "b/1.mp3", "a/x/3.flac", "a/notes.txt", "0.opus"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    found = [path.relative_to(tmp_path).as_posix() for path in walk([tmp_path])]

    assert found == ["0.opus", "a/x/3.flac", "b/1.mp3", "b/2.WAV"]
    assert list(walk([tmp_path / "a/notes.txt"])) == [tmp_path / "a/notes.txt"]
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)


def test_a_folder_without_recordings_is_told(fac, tmp_path):
    """Nothing scored is not success."""
    outcome = fac("scan", tmp_path)

    assert (outcome.code, outcome.out) == (1, "")
    assert "no recordings found" in outcome.err


def test_real_speech_through_several_processes(fac, corpus_clips):
    """The shipped bundle scores real clips in worker processes, as it does in this one."""
    clips = corpus_clips("real", "test", 2, min_s=3) + corpus_clips("fake", "test", 2, min_s=3)

    several = fac("scan", "--json", "--processes", "2", *clips)
    alone = fac("scan", "--json", "--processes", "1", *clips)

    assert several.code == alone.code == 0
    assert rows(several) == rows(alone)
    assert [row["path"] for row in rows(several)] == [str(clip) for clip in clips]
    assert all(row["speech_s"] > 0.5 and 0 <= row["fakeness_score"] <= 1 for row in rows(several))
