import shutil

import numpy as np
import pytest

import training.quantise
from fac_model.bundle import DEFAULT, ONNX, Bundle
from fac_stream.errors import FacError
from training.dataset import Corpus
from training.export import graph_logits
from training.quantise import dev_windows, evenly, quantise


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A copy of the shipped bundle, whose graph need not be exported again."""
    shutil.copytree(DEFAULT, tmp_path / "copy")
    monkeypatch.setattr(training.quantise, "checked_graph", lambda bundle: bundle.read(ONNX))
    return Bundle.load(tmp_path / "copy")


def test_int8_scores_nearly_the_same(shipped, tones, monkeypatch):
    """The graph is smaller and its logits little different; the bundle says so, and is another."""
    monkeypatch.setattr(training.quantise, "CALIBRATION_WINDOWS", 8)
    plain = shipped.read(ONNX)
    found = quantise(shipped.path, tones)
    small = Bundle.load(shipped.path)
    assert found["int8"]["auc"] == pytest.approx(found["float32"]["auc"], abs=0.1)
    assert small.manifest.precision == "int8"
    assert small.model_id != shipped.model_id
    assert len(small.read(ONNX)) < 0.8 * len(plain)
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 32_000)).astype(np.float32)
    logits = [graph_logits(graph, 1)(waves) for graph in (small.read(ONNX), plain)]
    assert logits[0].shape == logits[1].shape == (3, len(shipped.manifest.outputs))
    assert np.abs(logits[0] - logits[1]).max() < 1.0


def test_a_graph_that_ranks_worse_is_not_written(shipped, tones, monkeypatch):
    """Where int8 costs too much, the bundle stays as it was."""
    monkeypatch.setattr(training.quantise, "MOST_LOSS", -1.0)
    monkeypatch.setattr(training.quantise, "int8", lambda graph, waves: graph)
    with pytest.raises(FacError, match="points of equal error rate"):
        quantise(shipped.path, tones)
    assert Bundle.load(shipped.path) == shipped


def test_windows_are_taken_evenly():
    """The first and the last are among them; fewer are taken whole."""
    waves = np.arange(10.0, dtype=np.float32)[:, None]
    assert evenly(waves, 4)[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0]
    assert len(evenly(waves, 50)) == 10


def test_half_of_the_windows_are_telephone(tones):
    """Both channels give their ranges to the activations."""
    labels, waves = dev_windows(Corpus.open(tones))
    assert labels.tolist() == [False] * 8 + [True] * 8
    high = np.abs(np.fft.rfft(waves, axis=1))[:, 9_000:].sum(axis=1)
    assert (high[::2] < 0.1 * high[1::2]).all()
