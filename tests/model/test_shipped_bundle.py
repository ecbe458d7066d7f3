from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fac_model.bundle import ONNX, Bundle
from fac_model.detector import Detector
from fac_stream.audio.media import open_media
from fac_stream.audio.resample import Resampler


@pytest.fixture(scope="module")
def shipped():
    """The bundle that an installation scores with."""
    return Bundle.load()


def session_of(bundle):
    """The graph as a CPU box runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(bundle.read(ONNX), options, providers=["CPUExecutionProvider"])


def test_shipped_graph_gives_torchs_logits(shipped, waves):
    """Whoever scores without torch gets the scores of who trains with it."""
    logits = session_of(shipped).run(["logits"], {"wave": waves})[0]
    assert np.abs(logits - Detector.load(shipped).logits(waves)).max() < 1e-4


@pytest.mark.parametrize("label", ["real", "fake"])
def test_shipped_graph_gives_torchs_logits_for_speech(shipped, corpus_clips, label):
    """On recorded voices, too, the logits differ by no more than 1e-4."""
    clips = corpus_clips(label, "test", 12, min_s=2.0)
    windows = np.stack([first_window(path) for path in clips])
    logits = session_of(shipped).run(["logits"], {"wave": windows})[0]
    assert np.abs(logits - Detector.load(shipped).logits(windows)).max() < 1e-4


def first_window(path):
    """The first 2 s of a clip at 16 kHz."""
    with open_media(path) as media:
        resampler = Resampler(media.sample_rate, media.channels)
        blocks = [resampler.push(block) for block in media.blocks()]
    return np.concatenate([*blocks, resampler.flush()])[:32_000, 0]


def test_shipped_bundle_says_what_it_scores(shipped):
    """It states its figures on test, with intervals, and carries its plots."""
    assert shipped.manifest.metrics["split"] == "test"
    for condition in ("wideband", "resampled", "g711"):
        eer = shipped.manifest.metrics["conditions"][condition]["clip_over_sources"]["eer"]
        assert eer["low"] < eer["value"] < eer["high"]
    assert 0.5 < shipped.manifest.metrics["accuracy"] < 1.0
    assert set(shipped.plots) >= {
        "calibration",
        "confusion_matrix",
        "det",
        "durations",
        "false_alarms",
        "generators",
        "matrix",
        "precision_recall",
        "roc",
        "score_distribution",
        "training_history",
    }


def test_model_card_and_readme_speak_of_the_shipped_bundle(shipped):
    """Whoever ships another bundle has to write down what it scores."""
    root = Path(__file__).parents[2]
    eer = shipped.manifest.metrics["conditions"]["wideband"]["clip_over_sources"]["eer"]["value"]
    assert shipped.model_id in (root / "docs" / "model-card.md").read_text()
    for page in ("docs/model-card.md", "README.md"):
        assert f"{100 * eer:.1f} %" in (root / page).read_text()


def test_the_page_of_decisions_speaks_of_the_shipped_bundle(shipped):
    """The tables of docs/decisions.md are those that its thresholds were measured with."""
    tables = shipped.manifest.decision
    if tables is None or not tables.measured:
        pytest.skip("nothing was measured of this bundle's thresholds; `fac decide --store` does")
    page = pytest.importorskip("training.decision_page", reason="the page is drawn by the extra train").page
    docs = Path(__file__).parents[2] / "docs"
    assert page(tables.measured) in (docs / "decisions.md").read_text()
    assert (docs / "images" / "decisions.png").is_file()
