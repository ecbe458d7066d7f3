import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import training.quantise
from fac_model.bundle import DEFAULT, ONNX, Bundle
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.network import build, weights_of
from fac_stream.cli import app
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
    """Weights take less than half the room, logits differ little; the bundle says so, and is another."""
    monkeypatch.setattr(training.quantise, "CALIBRATION_WINDOWS", 8)
    plain = shipped.read(ONNX)
    found = quantise(shipped.path, tones)
    small = Bundle.load(shipped.path)
    assert found["int8"]["auc"] == pytest.approx(found["float32"]["auc"], abs=0.1)
    assert small.manifest.precision == "int8"
    assert small.model_id != shipped.model_id
    assert len(plain) - len(small.read(ONNX)) > 0.5 * len(shipped.read("weights.safetensors"))
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


def test_a_large_dev_is_thinned(tones, monkeypatch):
    """The windows are kept in memory: of many clips some are taken, of both classes."""
    monkeypatch.setattr(training.quantise, "MOST", 5)
    labels, waves = dev_windows(Corpus.open(tones))
    assert len(waves) == len(labels) == 5
    assert set(labels) == {False, True}


@pytest.fixture
def tiny(tmp_path):
    """A bundle of a small network with two outputs, its weights drawn at random, without a graph."""
    config = NetworkConfig(name="texture_cnn", settings={"widths": [4, 8]})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build(config)
    return Bundle.save(
        tmp_path / "tiny",
        name="tiny",
        version="1",
        front_end=FrontEndConfig(bands=16, hop_length=400, padding=312),
        network=config,
        outputs=("synthetic", "speech"),
        calibration=Calibration(),
        tensors=weights_of(network),
    )


def export(*arguments):
    """``fac export``: its exit code, what it printed, and the error that ``main`` turns into a line."""
    done = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return done.exit_code, done.stdout, done.exception


def test_export_int8_prints_what_it_costs(tiny, tones, monkeypatch):
    """Both graphs' figures, a line each; the bundle is another until a plain export makes it what it was."""
    monkeypatch.setattr(training.quantise, "MOST_LOSS", 1.0)
    code, printed, _ = export(tiny.path, "--int8", tones)
    small = Bundle.load(tiny.path)
    assert code == 0
    assert [line.split()[:2] for line in printed.splitlines()] == [["float32", "EER"], ["int8", "EER"]]
    assert (small.manifest.precision, small.has_onnx) == ("int8", True)
    assert small.model_id != tiny.model_id
    assert export(tiny.path)[0] == 0
    plain = Bundle.load(tiny.path)
    assert (plain.manifest.precision, plain.model_id) == ("float32", tiny.model_id)
    assert plain.manifest.files[ONNX] != small.manifest.files[ONNX]


def test_export_int8_says_why_it_did_nothing(tiny, tones, tmp_path, monkeypatch):
    """Too great a loss, no such data, no such bundle: a foreseen error, and the bundle as it was."""
    monkeypatch.setattr(training.quantise, "checked_graph", lambda bundle: b"")
    monkeypatch.setattr(training.quantise, "int8", lambda graph, waves: graph)
    monkeypatch.setattr(training.quantise, "graph_logits", lambda graph, threads: lambda waves: waves)
    monkeypatch.setattr(training.quantise, "MOST_LOSS", -1.0)
    nowhere = tmp_path / "nowhere"
    for bundle, data, reason in (
        (tiny.path, tones, "int8 costs"),
        (tiny.path, nowhere, "nowhere"),
        (nowhere, tones, "a bundle is a folder"),
    ):
        code, printed, error = export(bundle, "--int8", data)
        assert (code, printed) == (1, "")
        assert isinstance(error, FacError)
        assert reason in str(error)
    assert Bundle.load(tiny.path) == tiny
