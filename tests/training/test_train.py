"""From a folder of sounds to a bundle that is measured: the whole way in seconds."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fac_model.bundle import Bundle
from fac_model.calibration import Affine
from fac_stream.cli import app
from fac_stream.errors import ConfigError, FacError
from tests.training.tiny import RECIPE, recipe_file
from training import train as module
from training.augment import IMAGE, augmentations
from training.checkpoint import Run
from training.evaluate import evaluate
from training.lesson import Lesson, masked
from training.manifest import ManifestError
from training.mixture import pack
from training.recipe import Recipe
from training.train import train


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


@pytest.fixture
def unshipped(monkeypatch):
    """Training ends with its last epoch and gives the best weights in one row: no graph, no calibration."""

    def best(run, *_):
        return np.concatenate([run.best[name].numpy().ravel() for name in sorted(run.best)])

    monkeypatch.setattr(module, "ship", best)


EVERYTHING = {
    "network": {"name": "spectrogram_cnn", "settings": {"widths": [8, 8, 8, 8], "hidden": 8, "outputs": 2}},
    "nonspeech": 0.25,
    "mixup": 0.5,
    "taught": 0.3,
    "hints": 3,
    "label_smoothing": 0.1,
    "ema": 0.9,
    "warmup_steps": 6,
    "clip_norm": 1.0,
    "precision": "bf16",
    "schedule": "cosine",
}


def test_the_same_seed_gives_the_same_weights(unshipped, tones, tutored, tmp_path):
    """To the last bit, also with a worker; another seed gives others."""
    first, same, other = (
        train(recipe_file(tmp_path, **EVERYTHING, **changes), tones, tmp_path / str(changes), **tutored)
        for changes in ({}, {"workers": 1}, {"seed": 4})
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.usefixtures("unshipped")
@pytest.mark.parametrize("more", [{"schedule": "plateau"}, EVERYTHING])
def test_a_killed_run_goes_on_as_if_it_was_not(tones, tutored, tmp_path, monkeypatch, capsys, more):  # noqa: PLR0917
    """Stopped in the third epoch it says how to go on; resumed, it ends with the same weights and figures."""
    path, given = recipe_file(tmp_path, **more), tutored if "hints" in more else {}
    whole = train(path, tones, tmp_path / "whole", **given)
    fit, epochs = module.fit_epoch, iter([True, True, False])

    def fit_or_die(*arguments, **named):
        if not next(epochs):
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    monkeypatch.setattr(module, "fit_epoch", fit_or_die)
    with pytest.raises(KeyboardInterrupt):
        train(path, tones, tmp_path / "killed", **given)
    assert "stopped after epoch 2; go on with the same command and --resume" in capsys.readouterr().out
    monkeypatch.setattr(module, "fit_epoch", fit)
    np.testing.assert_array_equal(train(path, tones, tmp_path / "killed", resume=True, **given), whole)
    rows = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "killed")]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]


@pytest.mark.usefixtures("unshipped")
def test_a_run_is_resumed_with_its_own_teachers(trained, tones, tutored, tmp_path):
    """Others would go on with other labels: they are refused; what it began with need not be named."""
    path = recipe_file(tmp_path, **EVERYTHING, epochs=1)
    train(path, tones, tmp_path / "begin", **tutored)
    train(path, tones, tmp_path / "run", begin=tmp_path / "begin", **tutored)
    train(path, tones, tmp_path / "run", resume=True, **tutored)
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["lineage"]["begun_with"] == "tiny 1, epoch 1 of 1"
    others = {**tutored, "teachers": [trained / "bundle"]}
    with pytest.raises(ConfigError, match="was taught by"):
        train(path, tones, tmp_path / "run", resume=True, **others)


def test_resuming_what_is_not_there_or_not_the_same_is_refused(trained, tones, tmp_path):
    """No checkpoint, another recipe, a damaged file: each in words."""
    with pytest.raises(ConfigError, match="no checkpoint"):
        train(recipe_file(tmp_path), tones, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="another recipe"):
        train(recipe_file(tmp_path, epochs=9), tones, trained, resume=True)
    (tmp_path / "checkpoint").mkdir()
    for state in ("{", "[]"):
        (tmp_path / "checkpoint" / "state.json").write_text(state)
        with pytest.raises(ConfigError, match="damaged"):
            train(recipe_file(tmp_path), tones, tmp_path, resume=True)


def test_the_command_trains(tones, tmp_path, monkeypatch):
    """``fac train RECIPE DATA --out FOLDER --resume`` says where the bundle lies; a file is no folder."""
    asked = []
    monkeypatch.setattr(module, "train", lambda *given, **named: asked.append((*given, named)) or "bundle")
    arguments = ["train", "predecessor", str(tones), "--resume", "--out"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "run")])
    assert (done.exit_code, done.stdout) == (0, "bundle\n")
    ((recipe, data, out, named),) = asked
    assert (recipe.name, data, out, named) == (
        "predecessor.yaml",
        tones,
        tmp_path / "run",
        {"begin": None, "teachers": (), "hints": None, "resume": True},
    )
    assert CliRunner().invoke(app, [*arguments, str(recipe)]).exit_code == 2


def test_early_stopping_waits_its_patience(unshipped, tones, tmp_path, monkeypatch):
    """Best in the second epoch: training ends two epochs later and keeps the second's weights."""
    gains = iter([0.6, 0.9, 0.8, 0.7])
    after: list[np.ndarray] = []

    def figures(_, network):
        tensors = network.state_dict()
        after.append(np.concatenate([tensors[name].numpy().ravel() for name in sorted(tensors)]))
        return {"dev_auc": next(gains)}

    monkeypatch.setattr(module.Judge, "figures", figures)
    best = train(recipe_file(tmp_path, epochs=30, stop_patience=2), tones, tmp_path)
    assert len(after) == 4
    np.testing.assert_array_equal(best, after[1])


def test_held_out_sources_are_judged_and_not_trained_on(unshipped, tones, tutored, tmp_path):
    """Every second epoch and the last have figures of dev, of the held-out page and of speech."""
    changes = {"holdout": ["page-1"], "choose_on": "holdout_eer", "dev_every": 2}
    train(recipe_file(tmp_path, **EVERYTHING, **changes), tones, tmp_path, **tutored)
    rows = json.loads((tmp_path / "history.json").read_text())
    assert ["holdout_eer" in row for row in rows] == [False, True, True]
    assert {"dev_auc", "dev_eer", "dev_f1", "dev_loss", "holdout_auc", "dev_speech_eer"} <= set(rows[1])
    assert all(0.0 <= value <= 1.0 for name, value in rows[1].items() if name.endswith(("auc", "eer")))
    curves = list((tmp_path / "tensorboard").iterdir())
    assert len(curves) == 1
    assert b"epoch/holdout_eer" in curves[0].read_bytes()


def test_the_learning_rate_rises_in_a_line_and_falls(tones):
    """Ten steps up, then half a cosine to zero; a plateau divides by ten in the fourth epoch without gain."""
    recipe = Recipe(**RECIPE | {"epochs": 4, "schedule": "cosine", "warmup_steps": 10})
    run = Run.start(recipe, 25, torch.device("cpu"))
    rates = []
    for epoch in range(4):
        rates += [run.learning_rate(step) for step in range(25)]
        run.end_epoch({"dev_auc": epoch / 4})
    assert rates[:3] == pytest.approx([0.001, 0.002, 0.003], rel=0.01)
    assert rates[50] == pytest.approx(0.005)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0.0 < rates[-1] < 1e-5
    run = Run.start(Recipe(**RECIPE | {"epochs": 40}), 25, torch.device("cpu"))
    rates = []
    for gain in (0.5, 0.6, 0.5, 0.6, 0.5, 0.5, 0.7):
        rates.append(run.learning_rate(3))
        run.end_epoch({"dev_auc": gain})
    assert rates == pytest.approx([0.01] * 6 + [0.001])


def test_the_average_follows_the_weights(tones):
    """It is the decayed mean of what the network was after each step, running statistics included."""
    run = Run.start(Recipe(**RECIPE | {"ema": 0.5}), 25, torch.device("cpu"))
    names = ("head.1.weight", "blocks.1.running_mean")
    expected = {name: run.average.state_dict()[name].clone() for name in names}
    for step in range(20):
        with torch.no_grad():
            for value in run.network.state_dict().values():
                value.add_(1)
        run.follow(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * run.network.state_dict()[name]
    for name in names:
        torch.testing.assert_close(run.average.state_dict()[name], expected[name])
    steps = "blocks.1.num_batches_tracked"
    assert torch.equal(run.average.state_dict()[steps], run.network.state_dict()[steps])
    alone = Run.start(Recipe(**RECIPE), 25, torch.device("cpu"))
    assert alone.average is alone.network


@pytest.mark.parametrize("name", IMAGE)
def test_whole_batches_are_masked_as_one_image_is(name):
    """What the augmentation does to each image; where it does nothing, nothing."""
    rng = np.random.default_rng(0)
    mask = augmentations(None)[name]
    drawn = [mask.draw(rng) for _ in range(50)]
    images = rng.normal(size=(51, 2, 30, 40)).astype(np.float32)
    wanted = [mask.apply(*pair) for pair in zip(images, drawn, strict=False)]
    stripes = pack([*({name: stripes} for stripes in drawn), {}])
    found = masked(torch.from_numpy(images), torch.from_numpy(stripes)).numpy()
    np.testing.assert_allclose(found, np.stack([*wanted, images[-1]]), atol=1e-6)


def test_windows_without_speech_train_the_second_output_only():
    """Their first logit changes nothing, their second does; one output alone has its own loss."""
    speech, synthetic = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    settings = Recipe(**RECIPE | {"speech_weight": 0.5})
    logits = torch.tensor([[0.3, 2.0], [0.4, 1.0], [5.0, -1.0]], requires_grad=True)
    lesson = Lesson(torch.empty(3, 0), synthetic, speech, torch.empty(3, 0))
    module.loss_of(logits, lesson, settings).backward()
    assert logits.grad[2, 0] == 0.0
    assert (logits.grad[:2] != 0.0).all()
    assert logits.grad[2, 1] > 0.0
    single = module.loss_of(logits[:, :1], lesson, settings)
    expected = (np.logaddexp(0, 0.3) + np.logaddexp(0, -0.4)) / 2
    assert single.item() == pytest.approx(expected, abs=1e-6)


def test_a_network_below_chance_is_not_shipped(tones, tmp_path, monkeypatch):
    """Where synthetic clips score lower than human ones there is nothing to calibrate, and no bundle."""
    logits = {"real": 1.0, "fake": -1.0}

    def rows(score, dev, *_):
        """Two windows a clip: logit, level, bandwidth, clipped share, noise; whether it is telephone."""
        return [
            np.array([[logits[clip.label], -20, 8e3, 0, 30, narrow] for narrow in (0, 1)], np.float32)
            for clip in dev.clips
        ]

    monkeypatch.setattr("training.calibrate.clip_logits", rows)
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


PROCESS = """
import sys
from pathlib import Path
from training import train as module
module.ship = lambda run, *_: None
start = module.Run.start
module.Run.start = lambda *given: runs.append(start(*given)) or runs[0]
runs = []
module.train(*map(Path, sys.argv[1:]))
print(sum(float(value.double().abs().sum()) for value in runs[0].network.parameters()))
"""


def test_two_processes_train_one_network(tones, tmp_path):
    """Started as torchrun does, both end with the same weights after half as many steps; the first writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = recipe_file(tmp_path, epochs=1, conditions=["wideband"], dev_every=1)
    one = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", PROCESS, path, tones, tmp_path / "run"]
    processes = [
        subprocess.Popen(
            command, env={**one, "RANK": rank, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=110)[0].splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1]
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["steps"] == 2
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
