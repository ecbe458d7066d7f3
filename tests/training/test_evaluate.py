"""An evaluation's figures against numbers worked out by hand, and what the report makes of them."""

import io

import numpy as np
import pytest
from rich.console import Console

from training import report
from training.calibrate import ROWS_PER_SOURCE, balanced
from training.dataset import Corpus
from training.evaluate import figures_of
from training.logits import CONDITIONS, Scored, clip_logits
from training.manifest import Clip, Label, Split
from training.pcm import WINDOW, PcmCache


def clip(label, source, generator="", kind=""):
    """A clip without a file."""
    return Clip(None, label, Split.TEST, "", "", generator, source, "", kind, "modern")


# Means: human -2, 1, -1; synthetic 2, -0.5.
CLIPS = [
    (clip(Label.REAL, "page"), [-3.0, -1.0]),
    (clip(Label.REAL, "page"), [1.0]),
    (clip(Label.REAL, "corpus"), [-1.0, -1.0]),
    (clip(Label.FAKE, "page", "WaveX", "tts"), [1.0, 3.0]),
    (clip(Label.FAKE, "page", "VoiceY", "vc"), [-1.0, 0.0]),
]
SCORED = Scored([each for each, _ in CLIPS], [np.array(llrs) for _, llrs in CLIPS])


def test_figures_by_hand():
    """Five clips, nine windows, on paper."""
    found = figures_of(SCORED)
    values = {name: row["value"] for name, row in found["clip"].items()}
    # 2 found of 3 humans right, 1 of 2 fakes; pairs in order: 3 (fake 2) + 2 (fake -0.5) of 6.
    assert values == pytest.approx(
        {"f1": 0.5, "accuracy": 0.6, "precision": 0.5, "recall": 0.5, "auc": 5 / 6, "eer": 1 / 3}, abs=1e-4
    )
    # Windows: human -3 -1 1 -1 -1, synthetic 1 3 -1 0; a window at 0 is not called synthetic.
    assert found["window"]["recall"]["value"] == 0.5
    assert found["window"]["precision"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["window"]["auc"]["value"] == pytest.approx((4.5 + 5 + 2.5 + 4) / 20, abs=1e-4)
    assert [(row["name"], row["clips"], row["auc"], row["missed"]) for row in found["by_kind"]] == [
        ("vc", 1, 0.667, 1.0),
        ("tts", 1, 1.0, 0.0),
    ]
    assert found["false_alarms"] == [
        {"name": "page", "clips": 2, "rate": 0.5},
        {"name": "corpus", "clips": 1, "rate": 0.0},
    ]


def test_the_report_says_what_was_found(tmp_path):
    """Figures, groups and plots stand in both forms; what a manifest says is escaped."""
    rows = figures_of(SCORED) | {"aside": [{"name": "nonspeech", "clips": 3, "called_synthetic": 0.25}]}
    rows["false_alarms"][0]["name"] = "<page>|"
    found = {
        "model": "tiny@1",
        "split": "test",
        "clips": {"real": 3, "fake": 2},
        "conditions": dict.fromkeys(CONDITIONS, rows),
    }
    report.write(tmp_path, found, {"roc": b"png"})
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for words in ("33.3 %", "0.833", "VoiceY", "25.0%", "roc.png"):
        assert words in page
        assert words in text
    assert "<page>" not in page
    assert "<page>\\|" in text
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.table(found))
    assert "0.833" in console.export_text()


def test_sources_count_alike_in_the_calibration():
    """A source with one window gives as many rows as one with thousands, each generator being a source."""
    clips = [
        clip(Label.REAL, "a"),
        clip(Label.REAL, "b"),
        clip(Label.FAKE, "a", "x"),
        clip(Label.FAKE, "a", "y"),
    ]
    corpus = Corpus(clips, PcmCache(np.zeros(4, np.int16), np.arange(4), np.arange(4) + 1))
    rows = balanced(corpus, [np.arange(5000.0), np.array([7.0]), np.array([1.0]), np.array([2.0])])
    assert [(len(row), is_fake) for row, is_fake in rows] == [
        (ROWS_PER_SOURCE, fake) for fake in (False, False, True, True)
    ]
    assert set(rows[1][0]) == {7.0}
    # Thinned evenly: the last of many windows counts as the first does.
    assert rows[0][0][0] == 0.0
    assert rows[0][0][-1] == 4999.0


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_window_reaches_its_own_clip(condition):
    """Clips of different lengths, batched together: each gets the scores of its own windows, in order."""
    seconds = [1, 2, 3, 7, 2]
    rng = np.random.default_rng(0)
    parts = [
        (1000 * (i + 1) * np.sign(rng.normal(size=16_000 * n))).astype(np.int16)
        for i, n in enumerate(seconds)
    ]
    ends = np.cumsum([len(part) for part in parts])
    pcm = PcmCache(np.concatenate(parts), ends - [len(part) for part in parts], ends)
    corpus = Corpus([clip(Label.REAL, "a")] * len(parts), pcm)
    shapes = []

    def level(waves):
        shapes.append(waves.shape[1:])
        return np.abs(waves).mean(axis=1)

    found = clip_logits(level, corpus, condition, 4)
    assert [len(row) for row in found] == [1, 1, 2, 4, 1]
    assert set(shapes) == {(WINDOW,)}
    means = [row.mean() for row in found]
    assert means == [*sorted(means[:4]), means[4]]
    if condition == "wideband":
        assert means == pytest.approx([1000 * (i + 1) / 32768 for i in range(5)], rel=1e-4)
