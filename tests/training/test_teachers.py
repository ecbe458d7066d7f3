"""Labels that trained networks have a part in."""

import pytest
import torch

from fac_model.bundle import Bundle
from fac_model.network import build
from fac_stream.errors import ConfigError
from tests.training.tiny import recipe_file
from training.checkpoint import Weights
from training.recipe import Recipe
from training.teachers import Teachers
from training.train import train

CPU = torch.device("cpu")


def settings(folder, **changes):
    """The tiny recipe, loaded."""
    return Recipe.load(recipe_file(folder, **changes))


def test_a_label_is_shared_between_truth_and_the_mean_logit(trained, tmp_path):
    """Half of it is the truth, half the sigmoid of the mean of the teachers' logits."""
    folders = [trained / "bundle", trained]
    teachers = Teachers(folders, settings(tmp_path, taught=0.5), CPU)
    images = torch.randn(6, 1, 128, 200, generator=torch.Generator().manual_seed(1))
    truth = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    logits = []
    for folder in folders:
        network = build_of(Weights.of(folder))
        with torch.no_grad():
            logits.append(network(images).reshape(len(images), -1)[:, 0])
    expected = 0.5 * truth + 0.5 * torch.sigmoid((logits[0] + logits[1]) / 2)
    torch.testing.assert_close(teachers.label(images, truth), expected)


def build_of(weights):
    """The network of a run or bundle, listening."""
    network = build(weights.network)
    network.load_state_dict(weights.tensors)
    return network.eval()


def test_without_teachers_labels_stay(tmp_path):
    """The very tensor comes back."""
    truth = torch.tensor([0.0, 1.0])
    assert Teachers([], settings(tmp_path), CPU).label(torch.zeros(2, 1, 128, 200), truth) is truth


def test_a_network_can_learn_from_teachers(trained, tones, tmp_path):
    """Labels that are the teachers' alone train a bundle, which names them."""
    path = recipe_file(tmp_path, epochs=1, taught=1.0)
    ours = Bundle.load(train(path, tones, tmp_path / "out", teachers=[trained, trained / "bundle"]))
    theirs = ["tiny 1, epoch 3 of 3", Bundle.load(trained / "bundle").model_id]
    assert ours.manifest.training["taught_by"] == theirs


@pytest.mark.parametrize(
    ("teachers", "changes", "said"),
    [
        (["bundle"], {}, "set taught, or leave --teacher out"),
        ([], {"taught": 0.5}, "0.5 of each label is a teacher's"),
        (["bundle"], {"taught": 0.5, "front_end": "predecessor"}, "another front end"),
    ],
)
def test_teachers_and_recipe_suit_each_other(trained, tmp_path, teachers, changes, said):
    """One without the other, or ears of another kind, are refused before anything is trained."""
    with pytest.raises(ConfigError, match=said):
        Teachers([trained / name for name in teachers], settings(tmp_path, **changes), CPU)
