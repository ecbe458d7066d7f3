"""Training that begins with weights, and the mean of several."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from fac_model.bundle import Bundle
from fac_model.calibration import Affine
from fac_stream.errors import ConfigError
from tests.training.tiny import recipe_file
from training.average import average
from training.train import train


def test_training_can_begin_with_a_bundle(trained, tones, tmp_path):
    """With a vanishing learning rate the weights stay the bundle's; the new bundle names it."""
    begin = Bundle.load(trained / "bundle")
    path = recipe_file(tmp_path, epochs=1, learning_rate=1e-12)
    ours = Bundle.load(train(path, tones, tmp_path / "on", begin=trained / "bundle"))
    assert ours.manifest.training["begun_with"] == begin.model_id
    for name, value in begin.tensors().items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(ours.tensors()[name], value, atol=1e-6)


def test_training_can_begin_with_a_run(trained, tones, tmp_path):
    """A run's last averaged weights serve, too; the bundle says whose they were."""
    path = recipe_file(tmp_path, epochs=1, learning_rate=1e-12)
    ours = Bundle.load(train(path, tones, tmp_path / "on", begin=trained))
    assert ours.manifest.training["begun_with"] == "tiny 1, epoch 3 of 3"


def test_an_average_lies_between_its_parts(trained, tones, tmp_path):
    """Every weight is the mean of the parts'; the bundle is calibrated and says what it was made of."""
    made = Bundle.load(average([trained, trained / "bundle"], tones, tmp_path / "mean"))
    last = load_file(trained / "checkpoint" / "average.safetensors")
    best = Bundle.load(trained / "bundle")
    for name, value in made.tensors().items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(value, (last[name] + best.tensors()[name]) / 2, atol=1e-6)
    assert made.manifest.training["average_of"] == ["tiny 1, epoch 3 of 3", best.model_id]
    assert made.has_onnx
    assert made.manifest.calibration.wideband != Affine()


def test_an_average_takes_what_was_trained_with_hints(tones, tutored, tmp_path):
    """The outputs that guessed them are in none of the parts, nor in what is made of them."""
    path = recipe_file(tmp_path, hints=3, taught=0.3)
    bundle = train(path, tones, tmp_path / "run", **tutored)
    made = Bundle.load(average([bundle, tmp_path / "run"], tones, tmp_path / "mean"))
    assert made.tensors()["head.4.weight"].shape == Bundle.load(bundle).tensors()["head.4.weight"].shape


def test_an_average_needs_parts_of_one_network(trained, tones, tmp_path):
    """One folder alone, runs without a bundle, or another network are refused."""
    for folders, said in (
        ([trained / "bundle"], "two folders"),
        ([trained, trained], "one of them a bundle"),
    ):
        with pytest.raises(ConfigError, match=said):
            average(folders, tones, tmp_path / "mean")
    other = {"name": "spectrogram_cnn", "settings": {"widths": [4, 8, 8, 8], "hidden": 8}}
    changed = train(recipe_file(tmp_path, network=other, epochs=1), tones, tmp_path / "other")
    with pytest.raises(ConfigError, match="another network"):
        average([trained / "bundle", changed], tones, tmp_path / "mean")


def test_training_does_not_begin_with_another_network(trained, tones, tmp_path):
    """A bundle whose network differs from the recipe's is refused by name."""
    other = {"name": "spectrogram_cnn", "settings": {"widths": [4, 8, 8, 8], "hidden": 8}}
    with pytest.raises(ConfigError, match="another network"):
        train(recipe_file(tmp_path, network=other), tones, tmp_path / "on", begin=trained / "bundle")
