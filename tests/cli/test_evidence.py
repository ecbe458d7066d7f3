import csv
import json
import sqlite3
import wave
from contextlib import closing

import numpy as np
import pytest

from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.message import Message
from fac_stream.evidence.clerk import Clerk
from fac_stream.evidence.folder import Folder
from fac_stream.storage.audit import entries
from tests.evidence.exhibits import BACKEND, KEY_TEXT, MODEL, SETTINGS, alert, cut, heard, noise


class Shelf:
    """Evidence in the state folder, alerts in their database, and what people said of them."""

    def __init__(self, path):
        self.path = path
        self.folder = Folder(path / "evidence")
        self._clerk = Clerk(SETTINGS, self.folder, None, BACKEND, "1.0")
        with closing(sqlite3.connect(path / "alerts.db")) as file, file:
            for migration in MIGRATIONS:
                for statement in migration.split(";"):
                    file.execute(statement)
            file.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def add(self, alert_id, *marks, seed=0, gaps=(), call_id="call-1"):
        """An alert with evidence and marks."""
        windows = cut(noise(8, seed), gaps=gaps)
        raised = alert(6.0, alert_id, call_id=call_id)
        self._clerk.keep(raised, heard(windows))
        message = Message.of(raised)
        with closing(sqlite3.connect(self.path / "alerts.db")) as file, file:
            file.execute(
                "INSERT INTO message (message_id, alert_id, type, written_at, life, body)"
                " VALUES (?, ?, 'alert.raised', 0, 'l', ?)",
                (message.message_id, alert_id, message.body),
            )
            file.executemany(
                "INSERT INTO mark (alert_id, mark, who, note, marked_at) VALUES (?, ?, ?, '', 0)",
                [(alert_id, mark, f"who {number}") for number, mark in enumerate(marks)],
            )

    def told(self):
        """What stands in the audit log."""
        return [(it.kind, it.facts["alert"], it.facts["why"]) for it in entries(self.path / "audit.jsonl")]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A state folder, with the key in the environment."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("FAC_EVIDENCE__KEY", KEY_TEXT)
    return Shelf(tmp_path)


def rows(out):
    """The lines of the manifest."""
    with (out / "manifest.csv").open() as file:
        return list(csv.DictReader(file))


def test_verdicts_become_labels(fac, shelf):
    """Confirmed is fake, rejected is real, the last word counts; what nobody judged stays where it is."""
    shelf.add("alert_1", "confirmed_fake", seed=1)
    shelf.add("alert_2", "acknowledged", "false_alarm", seed=2)
    shelf.add("alert_3", "false_alarm", "confirmed_fake", seed=3, call_id="call-3")
    shelf.add("alert_4", "acknowledged", seed=4)
    shelf.add("alert_5", seed=5)

    outcome = fac("alerts", "feedback", shelf.path / "out", "--json")

    assert json.loads(outcome.out)["faults"] == []
    found = {row["alert_id"]: row for row in rows(shelf.path / "out")}
    labels = {alert_id: (row["label"], row["generator"]) for alert_id, row in found.items()}
    assert labels == {"alert_1": ("fake", "unknown"), "alert_2": ("real", ""), "alert_3": ("fake", "unknown")}
    assert {row["split"] for row in found.values()} == {"train"}
    assert {row["purpose"] for row in found.values()} == {"a test"}
    assert found["alert_1"]["speaker"] == found["alert_2"]["speaker"] != found["alert_3"]["speaker"]
    assert "call-1" not in (shelf.path / "out" / "manifest.csv").read_text()
    assert {it.stat().st_mode & 0o777 for it in (shelf.path / "out").iterdir()} == {0o600}
    assert shelf.told() == [("evidence.read", f"alert_{number}", "feedback") for number in (1, 2, 3)]


def test_clips_are_what_was_heard(fac, shelf):
    """16 bits of the very samples, private, one file a piece without a gap."""
    shelf.add("alert_1", "confirmed_fake", gaps=[(48_000, 56_000)])
    fac("alerts", "feedback", shelf.path / "out")

    found = rows(shelf.path / "out")
    assert [row["path"] for row in found] == ["alert_1-1.wav", "alert_1-2.wav"]
    with wave.open(str(shelf.path / "out" / "alert_1-1.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(10**6), "<i2") / 32767
    assert np.abs(samples - noise(8)[: len(samples)]).max() < 1 / 32767
    assert len(samples) == 48_000
    assert (shelf.path / "out").stat().st_mode & 0o777 == 0o700
    assert (shelf.path / "out" / "alert_1-1.wav").stat().st_mode & 0o777 == 0o600


def test_one_sound_is_no_two_clips(fac, shelf):
    """Two alerts of one moment give one clip; where their labels contradict each other, none."""
    for number, (mark, seed) in enumerate(
        [("false_alarm", 1), ("false_alarm", 1), ("false_alarm", 2), ("confirmed_fake", 2)]
    ):
        shelf.add(f"alert_{number}", mark, seed=seed)

    outcome = fac("alerts", "feedback", shelf.path / "out", "--json")

    assert len(rows(shelf.path / "out")) == 1
    assert json.loads(outcome.out)["left_out"] == 3


def test_nothing_is_overwritten(fac, shelf):
    """A folder that holds anything is refused, and stays as it was; no evidence is read for it."""
    shelf.add("alert_1", "confirmed_fake")
    out = shelf.path / "out"
    assert fac("alerts", "feedback", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    outcome = fac("alerts", "feedback", out)

    assert (outcome.code, "nothing in it is overwritten" in outcome.err) == (2, True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert len(shelf.told()) == 1


def test_damaged_evidence_is_told_and_the_rest_exported(fac, shelf):
    """One broken file does not cost the others; the exit code says that something is missing."""
    shelf.add("alert_1", "confirmed_fake", seed=1)
    shelf.add("alert_2", "confirmed_fake", seed=2)
    path = shelf.folder.path / "alert_1.evidence"
    path.write_bytes(path.read_bytes()[:-100])

    outcome = fac("alerts", "feedback", shelf.path / "out")

    assert (outcome.code, len(rows(shelf.path / "out"))) == (1, 1)
    assert "the evidence of alert_1: it was changed or cut off" in outcome.err


def test_the_wrong_key_opens_nothing(fac, shelf, tmp_path):
    """--key-file wins over the environment; another key than that of the file is told as such."""
    shelf.add("alert_1")
    key = tmp_path / "other.key"
    assert fac("evidence", "key", key).code == 0

    outcome = fac("replay", "alert_1", "--key-file", key)

    assert outcome.code == 1
    assert "another key encrypted it" in outcome.err
    assert not (shelf.path / "audit.jsonl").exists()


def test_a_key_file_is_private_and_never_overwritten(fac, tmp_path):
    """The key of old evidence is not lost by a second `fac evidence key`."""
    path = tmp_path / "evidence.key"
    assert fac("evidence", "key", path).code == 0
    before = path.read_text()

    assert path.stat().st_mode & 0o777 == 0o600
    assert "File exists" in fac("evidence", "key", path).err
    assert path.read_text() == before
    printed = fac("evidence", "key").out.strip()
    assert len(printed) == 44 != before.strip()
    assert json.loads(fac("evidence", "key", "--json").out)["key"] != printed


def test_replay_needs_the_bundle_and_says_which(fac, shelf):
    """Evidence of a bundle that is not the one at hand is not scored by another."""
    shelf.add("alert_1")

    outcome = fac("replay", "alert", "--wav", shelf.path / "a.wav")

    assert outcome.code == 1
    assert f"alert_1 was scored by {MODEL}" in outcome.err
    assert (shelf.path / "a.wav").stat().st_mode & 0o777 == 0o600
    assert shelf.told() == [("evidence.read", "alert_1", "export")]
    assert "such a file already" in fac("replay", "alert_1", "--wav", shelf.path / "a.wav").err


def test_who_read_it_is_the_systems_word(fac, shelf, monkeypatch):
    """The audit log tells a replay from an export, and names a user whom the environment cannot choose."""
    shelf.add("alert_1")
    monkeypatch.setenv("LOGNAME", "somebody else")

    fac("replay", "alert_1")

    assert shelf.told() == [("evidence.read", "alert_1", "replay")]
    (entry,) = entries(shelf.path / "audit.jsonl")
    assert entry.facts["by"] not in ("", "somebody else")


def test_an_alert_without_evidence_is_told(fac, shelf):
    """Neither an unknown alert nor an ambiguous beginning is guessed at."""
    shelf.add("alert_1")
    shelf.add("alert_2")

    assert "no alert with evidence begins with 'nothing'" in fac("replay", "nothing").err
    assert "2 alerts with evidence begin with 'alert_'" in fac("replay", "alert_").err


def test_evidence_is_listed_and_deleted_without_a_key(fac, shelf, monkeypatch):
    """What there is can be seen and removed by who must not hear it; the removal is in the audit log."""
    monkeypatch.delenv("FAC_EVIDENCE__KEY")
    shelf.add("alert_1", call_id="call\x1b[31m")
    (shelf.folder.path / "alert_2.evidence").write_bytes(b"junk")

    lines = fac("evidence", "list").out.splitlines()
    found = [json.loads(line) for line in fac("evidence", "list", "--json").out.splitlines()]

    assert "\x1b" not in "".join(lines)
    assert {line.split()[0] for line in lines} == {"alert_1", "alert_2"}
    assert {it["alert_id"]: it.get("damaged", False) for it in found} == {"alert_1": False, "alert_2": True}
    assert fac("evidence", "delete", "alert_1", "alert_2").code == 0
    assert shelf.folder.entries() == []
    assert shelf.told() == [("evidence.removed", f"alert_{number}", "by hand") for number in (1, 2)]


def test_what_cannot_be_noted_is_not_read(fac, shelf):
    """Where the audit log takes no entry, evidence stays closed and is not deleted either."""
    shelf.add("alert_1", "false_alarm")
    (shelf.path / "audit.jsonl").mkdir()

    assert fac("replay", "alert_1", "--wav", shelf.path / "a.wav").code == 1
    assert fac("evidence", "delete", "alert_1").code == 1
    assert not (shelf.path / "a.wav").exists()
    assert len(shelf.folder.entries()) == 1
