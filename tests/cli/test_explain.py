import json
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pytest
import soundfile

from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.config_storage import evidence_key
from tests import kept
from tests.fakes import FakeGate, FakeScorer, scored_at


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    """Scores by frequency, see ``tests.fakes``; state and pictures lie in the test's folder."""
    monkeypatch.setattr("fac_stream.scoring.backend.open_scorer", lambda _: FakeScorer())
    monkeypatch.setattr("fac_stream.audio.speech.SpeechGate", lambda *_: FakeGate())
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recording(tmp_path):
    """Two legs: a human caller, and an agent whose voice turns synthetic at second 20."""
    agent = np.concatenate([scored_at(0.05, 20.0), scored_at(0.98, 20.0)])
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([scored_at(0.05, 40.0), agent], axis=1), 16_000)
    return path


@pytest.fixture
def alert(tmp_path):
    """An alert in the database of the state folder."""
    raised = kept.alert()
    body = json.dumps(
        {"data": raised.model_dump(mode="json", exclude={"time"}), "timestamp": "2026-03-02T09:00:00Z"}
    )
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        for migration in MIGRATIONS:
            file.executescript(migration)
        file.execute(
            "INSERT INTO message VALUES (1, 'm', ?, 'alert.raised', 0, 'l', ?)", (kept.ALERT, body.encode())
        )
    return raised


def test_the_leg_and_the_time_of_a_synthetic_voice_are_found(fac, recording, tmp_path):
    """Unasked the synthetic leg is explained: windows since it turned, its whole timeline, a picture."""
    outcome = fac("explain", recording, "--json", "--out", tmp_path / "why.png")

    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert (told["leg"], told["decision"]) == ("agent", "synthetic")
    assert 20.0 < told["at_s"] < 40.0
    assert all(window["end_s"] > 20.0 for window in told["explanation"]["windows"])
    assert told["explanation"]["model"] == "fake@00000000"
    assert np.shape(told["looked_into"][0]["drops"]) == (12, 16)
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_a_leg_and_a_second_can_be_chosen(fac, recording, tmp_path):
    """A human leg is explained as one, and the window looked into is the one around the second."""
    told = json.loads(fac("explain", recording, "--json", "--leg", "caller", "--at", "11.2").out)

    assert (told["leg"], told["decision"], told["at_s"]) == ("caller", "human", None)
    assert told["explanation"]["windows"] == []
    assert [seen["start_s"] for seen in told["looked_into"]] == [10.0]
    assert (tmp_path / "explain-call.png").is_file()


def test_without_a_picture_it_is_text_alone(fac, recording, tmp_path, monkeypatch):
    """--no-picture needs no matplotlib; the lines name leg, time, model and each window's share."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    outcome = fac("explain", recording, "--no-picture")

    assert outcome.code == 0
    assert outcome.out.startswith("call.wav, agent: synthetic at ")
    assert "of the evidence:" in outcome.out
    assert not list(tmp_path.glob("*.png"))


def test_a_missing_matplotlib_is_named(fac, recording, monkeypatch):
    """Who wants a picture on a base install reads which extra has it."""
    for name in ("matplotlib", "training.explanation", "training.canvas"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    outcome = fac("explain", recording)

    assert outcome.code == 1
    assert "matplotlib is not installed" in outcome.err


def test_a_leg_that_is_not_there(fac, recording):
    """The refusal names those that are."""
    outcome = fac("explain", recording, "--leg", "robot")

    assert outcome.code == 1
    assert "it has caller, agent" in outcome.err


def test_an_alert_is_explained_from_its_evidence(fac, alert, tmp_path, monkeypatch):
    """What was told then, with the windows that are kept; the beginning of an id is enough."""
    monkeypatch.setenv("FAC_EVIDENCE__KEY", kept.KEY)
    kept.keep(alert, evidence_key(kept.KEY))

    outcome = fac("explain", "alert_000", "--json")

    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["explanation"] == alert.explanation.model_dump(mode="json")
    assert [seen["start_s"] for seen in told["looked_into"]] == [4.0, 2.0]
    assert (tmp_path / f"explain-{kept.ALERT}.png").is_file()


def test_evidence_of_an_older_key_is_explained(fac, alert, tmp_path):
    """--key-file opens it, as for a replay."""
    key = tmp_path / "old.key"
    key.write_text(kept.KEY)
    key.chmod(0o600)
    kept.keep(alert, evidence_key(kept.KEY))

    told = json.loads(fac("explain", kept.ALERT, "--json", "--key-file", key).out)

    assert told["note"] == ""
    assert told["looked_into"] != []


def test_an_alert_without_evidence_is_explained_without_its_sound(fac, alert):
    """Windows and timeline are in the alert itself; the note says why there is no look into them."""
    outcome = fac("explain", kept.ALERT)

    assert outcome.code == 0, outcome.err
    assert "no look into its windows: no key of evidence" in outcome.out
    assert outcome.out.count("of the evidence:") == 3


def test_the_sound_of_another_model_is_not_looked_into(fac, alert, monkeypatch):
    """Another bundle would explain its own score, not the one that raised the alert."""
    monkeypatch.setenv("FAC_EVIDENCE__KEY", kept.KEY)
    kept.keep(alert, evidence_key(kept.KEY))
    monkeypatch.setattr(FakeScorer, "model", "other@11111111")

    outcome = fac("explain", kept.ALERT)

    assert outcome.code == 1
    assert "was scored by fake@00000000, and this is other@11111111" in outcome.err


def test_an_alert_that_is_not_there(fac, alert):
    """An unknown id is said to be one, with where to look."""
    outcome = fac("explain", "alert_77")

    assert outcome.code == 1
    assert "no alert begins with 'alert_77'" in outcome.err
