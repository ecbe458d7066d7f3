"""Training that begins with weights, the mean of several, and several side by side."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from fac_model.bundle import ONNX, Bundle, BundleError
from fac_model.calibration import Affine
from fac_model.config import MemberConfig, NetworkConfig
from fac_model.detector import Detector
from fac_stream.errors import ConfigError
from tests.training.tiny import recipe_file
from training.average import average
from training.export import graph_logits, trial_signals
from training.join import join
from training.manifest import ManifestError
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


@pytest.fixture(scope="module")
def joined(trained, other_view, tones, tmp_path_factory):
    """The tiny bundle beside one that was trained through another front end."""
    return join([trained / "bundle", other_view], tones, tmp_path_factory.mktemp("joined") / "both")


@pytest.fixture(scope="module")
def other_view(tones, tmp_path_factory):
    """A bundle of another network and another front end than the tiny one's."""
    folder = tmp_path_factory.mktemp("view")
    view = {"n_fft": 256, "hop_length": 400, "padding": 0, "bands": 16, "scale": "linear"}
    network = {"name": "texture_cnn", "settings": {"widths": [8, 8], "pools": 2, "outputs": 1}}
    return train(recipe_file(folder, front_end=view, network=network), tones, folder / "run")


def fields_of(bundle):
    """What ``Bundle.save`` needs of a bundle beside its tensors."""
    names = ("name", "version", "front_end", "network", "calibration")
    return {name: getattr(bundle.manifest, name) for name in names}


def test_a_joined_bundle_says_the_mean_of_its_members(joined, trained, other_view):
    """In torch and in its graph; it is calibrated, and says what it was made of."""
    parts = [Bundle.load(trained / "bundle"), Bundle.load(other_view)]
    made = Bundle.load(joined)
    waves = trial_signals(32_000)
    expected = np.mean([Detector.load(part).logits(waves) for part in parts], axis=0)
    np.testing.assert_allclose(Detector.load(made).logits(waves), expected, atol=1e-5)
    np.testing.assert_allclose(graph_logits(made.read(ONNX), 1)(waves), expected, atol=1e-4)
    assert np.ptp(expected) > 0.01
    assert made.manifest.training["joined_of"] == [part.model_id for part in parts]
    assert made.manifest.calibration.wideband != Affine()
    assert made.model_id not in {part.model_id for part in parts}


def test_a_joined_bundle_needs_all_its_tensors_and_no_more(joined, tmp_path):
    """A member without weights, or weights without a member, is refused by name."""
    made = Bundle.load(joined)
    fewer = {name: value for name, value in made.tensors().items() if not name.startswith("beside.0.head")}
    for name, beside, tensors in (
        ("weightless", made.manifest.beside, fewer),
        ("memberless", (), made.tensors()),
    ):
        odd = Bundle.save(tmp_path / name, **fields_of(made), beside=beside, tensors=tensors)
        with pytest.raises(BundleError, match=name):
            Detector.load(odd)


def test_what_cannot_be_joined_is_refused(joined, trained, tones, tmp_path):
    """One bundle, one that is joined already, or other outputs."""
    bundle = trained / "bundle"
    for several, said in (([bundle], "two to 8"), ([bundle] * 9, "two to 8"), ([bundle, bundle], "twice")):
        with pytest.raises(ConfigError, match=said):
            join(several, tones, tmp_path / "out")
    with pytest.raises(ConfigError, match="several networks itself"):
        join([bundle, joined], tones, tmp_path / "out")
    first = Bundle.load(bundle)
    outputs = ("synthetic", "speech")
    speaking = Bundle.save(
        tmp_path / "speaking", **fields_of(first), outputs=outputs, tensors=first.tensors()
    )
    with pytest.raises(ConfigError, match="other outputs"):
        join([bundle, speaking.path], tones, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_joined_bundle_is_nothing_to_begin_with(joined, tones, tmp_path):
    """Its weights belong to several networks; the error says what to name in its place."""
    with pytest.raises(ConfigError, match="joined of"):
        train(recipe_file(tmp_path), tones, tmp_path / "on", begin=joined)


def test_a_join_that_fails_leaves_what_stood_there(joined, trained, other_view, tmp_path):
    """Without a corpus to calibrate on, the bundle of that name stays what it was."""
    was = Bundle.load(joined).model_id
    with pytest.raises(ManifestError):
        join([trained / "bundle", other_view], tmp_path / "no-corpus", joined)
    assert Bundle.load(joined).model_id == was


def test_members_with_other_outputs_are_refused(joined, tmp_path):
    """Their logits could not be averaged; it is said when the bundle is loaded, not at the first window."""
    made = Bundle.load(joined)
    (member,) = made.manifest.beside
    speaking = NetworkConfig(name=member.network.name, settings={**member.network.settings, "outputs": 2})
    beside = [MemberConfig(front_end=member.front_end, network=speaking)]
    odd = Bundle.save(tmp_path / "odd", **fields_of(made), beside=beside, tensors=made.tensors())
    with pytest.raises(BundleError, match=r"beside\.0 has other outputs"):
        Detector.load(odd)
