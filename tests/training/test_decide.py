import json
import shutil
from itertools import pairwise

import pytest

from fac_model.bundle import Bundle
from fac_stream.errors import FacError
from tests.training.voices import utterance, voices
from training.calls import PROFILES, Calls
from training.decide import decide, gate_figures, measure
from training.decision_page import page, picture
from training.evidence import CONDITIONS, fit_tables
from training.manifest import Label


@pytest.fixture(scope="module")
def figures():
    """What is measured of voices that are told apart easily, with tables that were fitted on others."""
    tables, heard = fit_tables(voices(0)), voices(1)
    heard += [
        utterance([value], Label.NONSPEECH, "page", condition=name)
        for name in CONDITIONS
        for value in (float("nan"), float("nan"), float("nan"), 1.0)
    ]
    spoken = [each for each in heard if each.clip.label != Label.NONSPEECH]
    return {
        "model": "tiny@00000000",
        "rule": {"false_alarms_per_100h": 10.0, "miss_rate": 0.1},
        "tables": "bundle",
        **{name: getattr(tables, name) for name in ("shrink", "alarm_reference", "human_reference")},
        "profiles": {name: measure(Calls.of(spoken, name, 2, 0), tables, name) for name in PROFILES},
        "gate": {
            name: gate_figures([each for each in heard if each.condition == name]) for name in CONDITIONS
        },
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_more_false_alarms_find_no_less_and_no_later(figures, profile):
    """Along the curve the threshold falls, and neither detection nor false alarms do."""
    curve = figures["profiles"][profile]["curve"]
    for fewer, more in pairwise(curve):
        assert fewer["alarm"] >= more["alarm"]
        assert fewer["detected"]["value"] <= more["detected"]["value"] + 0.02
    for row in curve:
        for found in (row["false_alarms"], row["detected"], row["called_human"]["human"]):
            assert found["low"] <= found["value"] <= found["high"]


def test_minutes_of_speech_prove_no_rare_alarm(figures):
    """Without a single alarm the interval still reaches as far as so little speech leaves open."""
    measured = figures["profiles"]["wideband"]
    rare = measured["curve"][0]["false_alarms"]
    assert rare["value"] == 0.0
    assert rare["high"] == pytest.approx(100 * 3.67 / measured["human_hours"], rel=0.1)


def test_the_gate_is_measured_by_windows(figures):
    """One of four windows of non-speech was scored; no window of speech was missed."""
    gate = figures["gate"]["wideband"]
    assert gate["passed"]["value"] == 0.25
    assert (gate["missed"]["value"], gate["missed"]["low"]) == (0.0, 0.0)
    assert gate["missed"]["high"] > 0.0


def test_the_page_shows_what_was_found(figures):
    """Tables of one width each, with the model's name; the figures are plain JSON, the picture a PNG."""
    tables = page(figures).strip().split("\n\n")
    assert "tiny@00000000" in tables[0]
    for table in tables[1:]:
        assert len({row.count("|") for row in table.splitlines()}) == 1
    json.dumps(figures, allow_nan=False)
    assert picture(figures).startswith(b"\x89PNG")


def test_a_corpus_without_speech_is_refused(trained, tones):
    """Where the gate hears no voice there is nothing to store, and nothing to measure; the bundle stays."""
    before = (trained / "bundle" / "bundle.json").read_bytes()
    for store, why in ((True, "none to store"), (False, "no human speech")):
        with pytest.raises(FacError, match=why):
            decide(trained / "bundle", tones, store=store)
    assert (trained / "bundle" / "bundle.json").read_bytes() == before


def test_a_plot_without_a_folder_is_refused_at_once(tmp_path):
    """Not after minutes of measuring."""
    with pytest.raises(FacError, match="make it first"):
        decide(None, tmp_path / "no corpus", plot=tmp_path / "none" / "plot.png")


def test_tables_change_no_id(trained, tmp_path):
    """Decisions are no part of what changes a score: the bundle's name@hash stays, and tables come back."""
    folder = shutil.copytree(trained / "bundle", tmp_path / "bundle")
    tables = fit_tables(voices())
    stored = Bundle.load(folder).update(decision=tables)
    assert stored.model_id == Bundle.load(trained / "bundle").model_id
    assert Bundle.load(folder).manifest.decision == tables
