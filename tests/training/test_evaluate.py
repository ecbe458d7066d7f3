"""An evaluation: findings by hand, the table of aims, and a run over sounds with a peer beside the bundle."""

import json

import numpy as np
import pytest

from fac_stream.errors import ConfigError
from tests.training.scores import RULES, WITH_SPEECH, clip, crowd, scored
from training.aims import aims
from training.breakdowns import MIN_CLIPS, by, false_alarms, human_sources, languages, matrix, worst_cells
from training.dataset import Corpus
from training.durations import by_duration
from training.evaluate import evaluate, thinned
from training.findings import findings
from training.manifest import Label
from training.outsiders import outsiders, speech_detection
from training.pcm import PcmCache

# Means: human -2, 1, -1; synthetic 2, -0.5.
ROWS = [
    (clip(Label.REAL, "page"), [-3.0, -1.0]),
    (clip(Label.REAL, "page", language="fr"), [1.0]),
    (clip(Label.REAL, "corpus"), [-1.0, -1.0]),
    (clip(Label.FAKE, "page", "WaveX", "tts"), [1.0, 3.0]),
    (clip(Label.FAKE, "page", "VoiceY", "vc", language="fr"), [-1.0, 0.0]),
]
ALERT = RULES.alert_llr


def test_findings_by_hand():
    """Five clips, nine windows, on paper; the window of a clip is the one that was asked for."""
    from training.findings import Heard

    found = findings(Heard(scored(ROWS)), [1, 0, 0, 0, 1], RULES, draws=20)
    # 2 of 3 humans right, 1 of 2 fakes found; pairs in order: 3 (fake 2) + 2 (fake -0.5) of 6.
    values = {name: row["value"] for name, row in found["clip"].items()}
    expected = {"f1": 0.5, "accuracy": 0.6, "recall": 0.5, "auc": 5 / 6, "eer": 1 / 3, "false_alarms": 1 / 3}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    # Windows: human -1, 1, -1, synthetic 1, 0; one at 0 is not called synthetic.
    assert found["window"]["recall"]["value"] == 0.5
    assert found["window"]["auc"]["value"] == pytest.approx((2.5 + 2) / 6, abs=1e-4)
    assert found["alert"]["misses"]["value"] == 1.0
    assert found["by_generator"][0] | {"name": "VoiceY", "kind": "vc"} == found["by_generator"][0]
    assert (found["durations"], found["nonspeech"], found["speech_detection"]) == ([], None, None)


def test_an_alert_is_raised_at_its_threshold():
    """The daemon alerts from probability 0.9 on, at LLR ln 9; the figures count what is exactly there."""
    from training.findings import Heard

    assert pytest.approx(np.log(9)) == ALERT
    rows = [(clip(Label.REAL), [0.0]), (clip(Label.FAKE, "page", "A"), [ALERT])]
    exact = scored(rows)
    exact.llrs[1] = ALERT
    found = findings(Heard(exact), [0, 0], RULES, draws=5)
    assert found["alert"]["misses"]["value"] == 0.0
    assert found["by_generator"][0]["missed"]["alert"]["value"] == 0.0


def test_groups_stand_against_all_humans():
    """The hardest group first, each with what is missed at both thresholds."""
    rows = by(scored(ROWS), lambda each: each.kind, ALERT)
    assert [(row["name"], row["clips"], row["auc"]["value"]) for row in rows] == [
        ("vc", 1, pytest.approx(2 / 3, abs=1e-4)),
        ("tts", 1, 1.0),
    ]
    assert [row["missed"]["even"]["value"] for row in rows] == [1.0, 0.0]
    assert [row["missed"]["alert"]["value"] for row in rows] == [1.0, 1.0]


def test_human_sources_and_languages():
    """False alarms are shares of a source's clips; a language counts both classes apart."""
    part = scored(ROWS)
    rows = human_sources(part, ALERT)
    assert [(row["name"], row["clips"], row["even"]["value"]) for row in rows] == [
        ("page", 2, 0.5),
        ("corpus", 1, 0.0),
    ]
    french = next(row for row in languages(part, ALERT) if row["name"] == "fr")
    assert (french["human"]["even"]["value"], french["synthetic"]["even"]["value"]) == (1.0, 0.0)


def test_a_source_of_few_clips_is_not_the_worst():
    """One false alarm of one clip is no finding where others have more; the mean counts each source once."""
    few = [(clip(Label.REAL, "few"), [9.0])]
    some = [(clip(Label.REAL, "some"), [1.0 if n < 2 else -1.0]) for n in range(MIN_CLIPS)]
    many = [(clip(Label.REAL, "many"), [-1.0])] * 100
    found = false_alarms(human_sources(scored(few + some + many), ALERT))
    assert found["sources"] == 2
    assert found["even"]["worst"]["name"] == "some"
    assert found["even"]["mean"]["value"] == pytest.approx(2 / MIN_CLIPS / 2)
    assert false_alarms(human_sources(scored(few), ALERT))["even"]["worst"]["name"] == "few"


def test_cells_of_generator_and_human_source():
    """Every pair with enough clips has a cell; the worst is named first; small groups have none."""
    rows = [
        (clip(label, source, generator), [llr])
        for label, source, generator, llr in (
            (Label.REAL, "easy", "", -5.0),
            (Label.REAL, "hard", "", 3.0),
            (Label.FAKE, "page", "Good", 1.0),
            (Label.FAKE, "page", "Bad", 5.0),
        )
        for _ in range(MIN_CLIPS)
    ]
    cells = matrix(scored([*rows, (clip(Label.FAKE, "page", "Rare"), [0.0])]))
    assert [row["name"] for row in cells["generators"]] == ["Bad", "Good"]
    assert [row["name"] for row in cells["sources"]] == ["easy", "hard"]
    assert cells["auc"] == [[1.0, 1.0], [1.0, 0.0]]
    worst = worst_cells(cells)[0]
    assert (worst["generator"], worst["source"], worst["auc"], worst["eer"]) == ("Good", "hard", 0.0, 1.0)


def test_longer_calls_are_surer():
    """Noise of windows averages out over a voice: EER falls with length, and the same windows are heard."""
    rng = np.random.default_rng(0)
    rows = [
        (clip(label, f"s{voice}", f"g{voice}" if label == Label.FAKE else ""), rng.normal(mean, 2.0, 1))
        for label, mean in ((Label.REAL, -1.0), (Label.FAKE, 1.0))
        for voice in range(8)
        for _ in range(22)
    ]
    found = by_duration(scored(rows), [0] * len(rows), RULES.call_llr)
    assert [row["seconds"] for row in found] == [2, 4, 6, 10]
    assert [row["calls"]["fake"] for row in found] == [160, 80, 48, 32]
    errors = [row["eer"]["value"] for row in found]
    assert errors[0] > errors[1] > errors[3]


def test_what_passes_the_daemons_gates_is_counted():
    """Four noises that score high: silero-vad lets two through, the network's own output another two."""
    rows = [(clip(Label.NONSPEECH, kind="music"), [3.0]) for _ in range(4)]
    silero = [np.array([seconds]) for seconds in (0.0, 0.4, 0.5, 2.0)]
    found = outsiders(scored(rows, speech_s=silero), RULES)
    assert found["ungated"]["even"]["value"] == 1.0
    assert found["gated"]["alert"]["value"] == 0.5
    assert "own_gate" not in found
    own = [np.array([llr]) for llr in (1.0, -1.0, -1.0, 1.0)]
    found = outsiders(scored(rows, speech_s=silero, own_speech=own), WITH_SPEECH)
    shares = {gate: found[gate]["even"]["value"] for gate in ("silero_gate", "own_gate", "gated")}
    assert shares == {"silero_gate": 0.5, "own_gate": 0.5, "gated": 0.25}
    assert [(row["name"], row["clips"]) for row in found["groups"]] == [("music", 4)]


def test_speech_detectors_hear_the_same_windows():
    """A detector that orders all windows has AUC 1; what is kept is decided as the daemon does."""
    speech = [(clip(Label.REAL), [0.0, 0.0]), (clip(Label.FAKE, generator="A"), [0.0])]
    noise = [(clip(Label.NONSPEECH), [0.0, 0.0])]
    found = speech_detection(
        scored(speech, speech_s=[np.array([2.0, 0.3]), np.array([1.0])], own_speech=[np.ones(2), np.ones(1)]),
        scored(noise, speech_s=[np.array([0.6, 0.0])], own_speech=[-np.ones(2)]),
        WITH_SPEECH,
    )
    assert found["windows"] == {"speech": 3, "nonspeech": 2}
    assert found["silero"]["kept"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["silero"]["let_through"]["value"] == 0.5
    assert found["silero"]["auc"]["value"] == pytest.approx(5 / 6, abs=1e-4)
    assert (found["own"]["auc"]["value"], found["own"]["kept"]["value"]) == (1.0, 1.0)


def test_aims_are_met_or_missed():
    """Each aim finds its figure in each condition and says whether it is low enough."""
    found = {name: findings(crowd(), [0] * 132, RULES, draws=20) for name in ("wideband", "g711")}
    rows = {row["name"]: row["conditions"] for row in aims(found)}
    eer = rows["EER, whole clip"]["wideband"]
    assert eer["found"] == found["wideband"]["clip_over_sources"]["eer"]
    assert eer["met"] == (eer["found"]["value"] <= 0.08)
    assert rows["… mean of the human sources"]["g711"]["met"] is None
    assert aims({"wideband": found["wideband"]})[0]["conditions"]["g711"]["found"] is None


def test_few_of_each_label_are_taken_evenly():
    """A limit keeps so many of every label, from the first to the last."""
    clips = [clip(label, str(n)) for label in (Label.REAL, Label.FAKE) for n in range(9)]
    corpus = Corpus(clips, PcmCache(np.zeros(18, np.int16), np.arange(18), np.arange(18) + 1))
    kept = thinned(corpus, 3).clips
    assert [(each.label.value, each.source) for each in kept] == [
        (label, source) for label in ("real", "fake") for source in ("0", "4", "8")
    ]
    assert thinned(corpus, None) is corpus


def test_a_peer_stands_beside_the_shipped_bundle(tones, tmp_path, monkeypatch, capsys):
    """The same clips in the same conditions; figures on disk are those returned, and runs repeat exactly."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.plots.all_plots", lambda *_, **__: {})
    (tmp_path / "loud_peer.py").write_text("def loudness(waves):\n    return (waves**2).mean(axis=1)\n")
    asked = {
        "limit": 2,
        "conditions": ["g711"],
        "peers": ["loud_peer:loudness"],
        "draws": 20,
        "probes": False,
    }
    found = evaluate(None, tones, "dev", tmp_path / "out", **asked)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    assert list(found["conditions"]) == ["wideband", "g711"]
    assert [(row["name"], list(row["conditions"])) for row in found["peers"]] == [
        (found["model"], ["wideband", "g711"]),
        ("loudness", ["wideband", "g711"]),
    ]
    ours = found["peers"][0]["conditions"]["g711"]["eer"]["value"]
    assert ours == found["conditions"]["g711"]["clip_over_sources"]["eer"]["value"]
    assert "EER, whole clip" in capsys.readouterr().out
    assert evaluate(None, tones, "dev", tmp_path / "again", **asked) == found


def test_what_does_not_exist_is_told(tones, tmp_path):
    """Splits, conditions and peers by name: a slip of the pen is answered with what there is."""
    for asked, said in (
        ({"split": "devel"}, "use train, dev or test"),
        ({"conditions": ["g712"]}, "no condition g712; there are wideband"),
        ({"peers": ["nowhere:score"]}, "PYTHONPATH"),
        ({"store": True}, "no other split"),
    ):
        with pytest.raises(ConfigError, match=said):
            evaluate(None, tones, asked.pop("split", "dev"), tmp_path, **asked)
