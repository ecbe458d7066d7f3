"""Recipes: those that are shipped, and those that are refused."""

from pathlib import Path

import pytest

import training
from fac_model.config import FrontEndConfig
from fac_stream.errors import ConfigError
from training.augment import IMAGE, WAVE
from training.recipe import Recipe

RECIPES = Path(training.__file__).parent / "recipes"
SHIPPED = sorted(set(RECIPES.glob("*.yaml")) - {RECIPES / "corpus.yaml"})
"""All but the plan that builds a corpus."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    """Every recipe in the folder loads, and asks for augmentations that there are."""
    assert set(Recipe.load(path).augment) <= {*WAVE, *IMAGE}


def test_the_predecessor_is_kept_exactly():
    """Its numbers, word for word."""
    recipe = Recipe.load(next(path for path in SHIPPED if path.stem == "predecessor"))
    assert recipe.front_end == "predecessor"
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.stop_patience) == (3e-4, 64, 40, 5)
    assert (recipe.schedule, recipe.choose_on, recipe.sampling) == ("plateau", "f1", "plain")
    five = ("time_mask", "frequency_mask", "gaussian_noise", "codec", "pitch_shift")
    assert recipe.augment == dict.fromkeys(five, 0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nepoch: 3\n", "epoch"),
        ("name: x\naugment: {echo: 0.5}\n", "augment.echo"),
        ("name: x\naugment: {gain: 1.5}\n", "augment.gain"),
        ("name: x\nlearning_rate: fast\n", "learning_rate"),
        ("name: x\nconditions: [moon]\n", "conditions.0.*'moon' is not known"),
        ("name: x\nsampling: paired\ncopies: {parrot: 0.1}\n", "copies.parrot"),
        ("name: x\nsampling: paired\ncopies: {world: 0.6, griffin_lim: 0.6}\n", "more than 1"),
        ("name: x\ncopies: {world: 0.1}\n", "set sampling to paired"),
        ("name: x\nchoose_on: holdout_eer\n", "holdout names no sources"),
        ("name: x\nnonspeech: 1.0\n", "no room for speech"),
        ("name: x\ndev_every: 6\n", "stop_patience is less than dev_every"),
        ("name: x\nfront_end: {hop_length: 3}\n", "front_end.*hop_length"),
        ("name: X!\n", "name"),
        ("- a\n- b\n", "recipe.yaml"),
        ("name: [\n", "cannot read"),
    ],
)
def test_a_bad_recipe_names_the_key(tmp_path, text, said):
    """Unknown keys and bad values are refused by name."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        Recipe.load(path)


def test_a_missing_recipe_is_said(tmp_path):
    """A path without a file is named."""
    with pytest.raises(ConfigError, match="cannot read"):
        Recipe.load(tmp_path / "none.yaml")


def test_a_front_end_is_named_or_spelt_out():
    """A preset by name, or the settings themselves."""
    assert Recipe(name="x", front_end="predecessor").front_end_config == FrontEndConfig.preset("predecessor")
    assert Recipe(name="x", front_end={"n_fft": 512}).front_end_config == FrontEndConfig(n_fft=512)
