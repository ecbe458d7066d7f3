"""From a folder of sounds to a bundle that is measured: the whole way in seconds."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from fac_model.bundle import Bundle
from fac_model.calibration import Affine
from fac_stream.errors import ConfigError, FacError
from training.evaluate import evaluate
from training.manifest import ManifestError
from training.train import train

RECIPE = {
    "name": "tiny",
    "seed": 3,
    "network": {"name": "spectrogram_cnn", "settings": {"widths": [8, 8, 8, 8], "hidden": 8}},
    "sampling": "paired",
    "windows_per_epoch": 64,
    "augment": {"gain": 0.5, "noise": 0.3, "telephone": 0.3, "time_mask": 0.5},
    "batch_size": 16,
    "epochs": 3,
    "learning_rate": 0.01,
    "choose_on": "auc",
    "conditions": ["wideband", "g711"],
    "workers": 0,
}


def recipe_file(folder, **changes):
    """A recipe on disk."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


@pytest.fixture(scope="module")
def trained(tones, tmp_path_factory):
    """A run of three small epochs."""
    out = tmp_path_factory.mktemp("run")
    bundle = train(recipe_file(out), tones, out)
    assert bundle == out / "bundle"
    return out


def weights(run):
    """All tensors of a run's bundle in one row."""
    tensors = Bundle.load(run / "bundle").tensors()
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def test_a_run_gives_a_whole_bundle(trained):
    """Weights, ONNX graph, a fitted calibration, and what it was trained on, all verified on loading."""
    bundle = Bundle.load(trained / "bundle")
    assert {"weights.safetensors", "model.onnx"} <= set(bundle.manifest.files)
    assert Affine() not in (bundle.manifest.calibration.wideband, bundle.manifest.calibration.telephone)
    summary = bundle.manifest.training
    assert summary["clips"] == {"real": 12, "fake": 12}
    assert summary["recipe"]["seed"] == 3
    assert {row["licence"] for row in summary["sources"]} == {"CC0-1.0"}
    assert summary["history"] == json.loads((trained / "history.json").read_text())
    assert len(summary["history"]) == 3


def test_the_same_seed_gives_the_same_weights(trained, tones, tmp_path):
    """To the last bit; another seed gives others."""
    train(recipe_file(tmp_path), tones, tmp_path / "same")
    train(recipe_file(tmp_path, seed=4), tones, tmp_path / "other")
    np.testing.assert_array_equal(weights(tmp_path / "same"), weights(trained))
    assert not np.array_equal(weights(tmp_path / "other"), weights(trained))


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_run_that_was_killed_goes_on_as_if_it_was_not(tones, tmp_path, monkeypatch, schedule):
    """Stopped in the third epoch and resumed, it ends with the same weights."""
    path = recipe_file(tmp_path, schedule=schedule)
    train(path, tones, tmp_path / "whole")
    from training import train as module

    fit, epochs = module.fit_epoch, iter([True, True, False])

    def fit_or_die(*arguments, **named):
        if not next(epochs):
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(module, "fit_epoch", fit_or_die)
    with pytest.raises(KeyboardInterrupt):
        train(path, tones, tmp_path / "killed")
    monkeypatch.setattr(module, "fit_epoch", fit)
    train(path, tones, tmp_path / "killed", resume=True)
    np.testing.assert_array_equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


def test_resuming_what_is_not_there_or_not_the_same_is_refused(trained, tones, tmp_path):
    """No checkpoint, another recipe, a damaged file: each in words."""
    with pytest.raises(ConfigError, match="no checkpoint"):
        train(recipe_file(tmp_path), tones, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="another recipe"):
        train(recipe_file(tmp_path, epochs=9), tones, trained, resume=True)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        train(recipe_file(tmp_path), tones, tmp_path, resume=True)


def test_early_stopping_waits_its_patience(tones, tmp_path, monkeypatch):
    """Best in the second epoch: training ends two epochs later and keeps the second's weights."""
    from training import train as module

    gains = iter([0.6, 0.9, 0.8, 0.7])
    after: list[np.ndarray] = []

    def figures(_, network):
        after.append(network.state_dict()["blocks.0.weight"].numpy().copy())
        return {"dev_auc": next(gains)}

    monkeypatch.setattr(module.Judge, "figures", figures)
    monkeypatch.setattr(module, "calibrate", lambda bundle, *_: bundle)
    bundle = train(recipe_file(tmp_path, epochs=30, stop_patience=2), tones, tmp_path)
    assert len(after) == 4
    np.testing.assert_array_equal(Bundle.load(bundle).tensors()["blocks.0.weight"], after[1])


def test_a_network_below_chance_is_not_shipped(tones, tmp_path, monkeypatch):
    """Where synthetic clips score lower than human ones there is nothing to calibrate, and no bundle."""
    labels = {"real": 1.0, "fake": -1.0}
    monkeypatch.setattr(
        "training.calibrate.clip_logits",
        lambda score, dev, *_: [np.full(2, labels[clip.label], np.float32) for clip in dev.clips],
    )
    with pytest.raises(FacError, match="chance"):
        train(recipe_file(tmp_path, epochs=1), tones, tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_evaluation_writes_figures_report_and_plots(trained, tones, tmp_path):
    """Everything is in the folder, the report shows its plots, and the bundle stays as it was."""
    before = (trained / "bundle" / "bundle.json").read_bytes()
    found = evaluate(trained / "bundle", tones, "test", tmp_path, conditions=["g711"], draws=50)
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert found["clips"] == {"real": 8, "fake": 8}
    for name in ("roc", "confusion_matrix", "score_distribution", "precision_recall", "training_history"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'alt="{name.replace("_", " ")}"' in (tmp_path / "report.html").read_text()
    for condition in ("wideband", "g711"):
        rows = found["conditions"][condition]
        assert [row["name"] for row in rows["by_generator"]] == ["buzzer"]
        assert {row["name"] for row in rows["false_alarms"]} == {"page-0", "page-1"}
        assert rows["nonspeech"]["clips"] == 2
    assert (trained / "bundle" / "bundle.json").read_bytes() == before


def test_what_it_scores_on_test_is_stored_in_the_bundle(trained, tones, tmp_path):
    """Figures and plots are kept with hashes, and the bundle's identity does not change by being measured."""
    before = Bundle.load(trained / "bundle")
    with pytest.raises(ConfigError, match="no other split"):
        evaluate(trained / "bundle", tones, "dev", tmp_path, store=True, limit=4)
    few = {"limit": 4, "conditions": [], "draws": 50, "probes": False}
    found = evaluate(trained / "bundle", tones, "test", tmp_path, store=True, **few)
    after = Bundle.load(trained / "bundle")
    assert after.model_id == before.model_id
    assert after.manifest.metrics["accuracy"] == found["conditions"]["wideband"]["clip"]["accuracy"]["value"]
    assert {name for name in after.manifest.files if name.startswith("plots/")} >= {"plots/roc.png"}
    assert found["clips"] == {"real": 4, "fake": 4}


def test_tones_are_learnt(tones, tmp_path):
    """Glide against buzz on the same pages is easy: after six epochs AUC on unseen clips is nearly 1."""
    bundle = train(recipe_file(tmp_path, epochs=6, windows_per_epoch=128), tones, tmp_path)
    found = evaluate(bundle, tones, "test", tmp_path / "test", conditions=[], draws=50, probes=False)
    assert found["conditions"]["wideband"]["clip"]["auc"]["value"] > 0.95


def test_a_corpus_without_what_is_needed_is_refused(tones, tmp_path):
    """One class only, no noise for a recipe with noise, no such split."""
    head, *lines = (tones / "manifest.csv").read_text().splitlines()
    for unwanted, error, said in (
        (",fake,dev", ManifestError, "split dev needs clips of both classes"),
        (",nonspeech,train", ConfigError, "asks for noise"),
    ):
        kept = [head, *(f"{tones}/{line}" for line in lines if unwanted not in line)]
        (tmp_path / "manifest.csv").write_text("\n".join(kept))
        with pytest.raises(error, match=said):
            train(recipe_file(tmp_path), tmp_path, tmp_path / "run")
    with pytest.raises(ConfigError, match="no split 'holdout'"):
        evaluate(None, tones, "holdout", tmp_path)


def test_importing_training_loads_no_torch():
    """The command line asks for the package before it knows whether torch is installed."""
    code = "import sys, training, training.manifest, training.vocoder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
