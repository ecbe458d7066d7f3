"""What a larger network notes, and a small one learns to guess."""

import numpy as np
import pytest
import torch

from fac_model.bundle import Bundle
from fac_stream.errors import ConfigError, FacError
from tests.training.tiny import RECIPE, recipe_file
from training.hints import Hints, embed, hint_loss
from training.lesson import Lesson
from training.manifest import Clip, Label, Split, read_manifest
from training.recipe import Recipe
from training.train import loss_of, train

MINE = """
import numpy as np

def spectrum(samples, rate):
    return np.log(1e-6 + np.abs(np.fft.rfft(samples, 64)))

def nothing(samples, rate):
    return np.full(8, np.nan)

def uneven(samples, rate):
    return np.zeros(len(samples) % 100)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module in the working folder."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def clips(count):
    """So many training clips, from c0 on."""
    return [Clip(path=None, label=Label.REAL, split=Split.TRAIN, name=f"c{i}") for i in range(count)]


def written(path, names, rows):
    """A file as ``embed`` writes it."""
    with path.open("wb") as file:
        np.savez(file, names=np.array(names), rows=np.asarray(rows, np.float16), by=np.array("mine:it"))
    return path


def test_hints_are_uncorrelated_and_of_variance_one(tmp_path):
    """Principal components, whitened; a clip that is not in the file has none, nor has no clip."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 40)) + 0.1 * rng.normal(size=(200, 40))
    hints = Hints.of(written(tmp_path / "h.npz", [f"c{i}" for i in range(200)], rows), clips(203), 3)
    assert hints.by == "mine:it"
    known = hints.look_up(torch.arange(200)).numpy()
    np.testing.assert_allclose(np.cov(known.T), np.eye(3), atol=0.02)
    assert hints.look_up(torch.tensor([200, 202, -1])).isnan().all()


def test_hints_are_always_the_same(tmp_path):
    """The decomposition is randomised; neither it nor anybody else's dice notice."""
    rows = np.random.default_rng(0).normal(size=(50, 30))
    file = written(tmp_path / "h.npz", [f"c{i}" for i in range(50)], rows)
    torch.manual_seed(1)
    first, dice = Hints.of(file, clips(50), 4), torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == dice
    assert torch.equal(first.table[:50], Hints.of(file, clips(50), 4).table[:50])


def test_the_loss_of_a_guess_counts_what_is_known():
    """The squared error where there are hints; nothing at all where there are none."""
    guesses = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    hints = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan]])
    assert hint_loss(guesses, hints).item() == pytest.approx(2.5)
    assert hint_loss(guesses, torch.full((2, 2), torch.nan)).item() == 0.0
    lesson = Lesson(torch.empty(2, 0), torch.tensor([0.0, 1.0]), torch.ones(2), hints)
    plain, hinted = (Recipe(**RECIPE | change) for change in ({}, {"hints": 2, "hint_weight": 0.4}))
    logits = torch.cat([torch.zeros(2, 2), guesses], dim=1)
    more = loss_of(logits, lesson, hinted) - loss_of(logits[:, :2], lesson, plain)
    assert more.item() == pytest.approx(0.4 * 2.5, abs=1e-6)


@pytest.mark.usefixtures("mine")
def test_a_network_can_learn_with_hints(tones, tmp_path):
    """They are made, guessed, named in the bundle, gone from its outputs; training can go on from it."""
    both = [c for c in read_manifest(tones) if c.split == Split.TRAIN and c.label in ("real", "fake")]
    file = tmp_path / "hints.npz"
    assert embed(tones, "mine:spectrum", file) == len(both)
    path = recipe_file(tmp_path, hints=3)
    ours = Bundle.load(train(path, tones, tmp_path / "out", hints=file))
    assert ours.manifest.outputs == ("synthetic",)
    assert ours.tensors()["head.4.weight"].shape[0] == 1
    assert ours.manifest.training["hinted_by"] == "mine:spectrum"
    for begin in (tmp_path / "out", tmp_path / "out" / "bundle"):
        on = train(path, tones, tmp_path / f"on_{begin.name}", begin=begin, hints=file)
        assert "begun_with" in Bundle.load(on).manifest.training


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(("function", "said"), [("nothing", "not finite"), ("uneven", "shape")])
def test_an_embedder_must_give_as_many_numbers_of_every_clip(tones, tmp_path, function, said):
    """What is no embedding is refused with the clip's name, and no file is left."""
    with pytest.raises(FacError, match=said):
        embed(tones, f"mine:{function}", tmp_path / "hints.npz")
    assert not (tmp_path / "hints.npz").exists()


def test_hints_and_recipe_suit_each_other(tmp_path):
    """One without the other, another file, or too few clips are refused before anything is trained."""
    file = written(tmp_path / "h.npz", ["c0", "c1"], np.eye(2, 9))
    (tmp_path / "other.npz").write_bytes(b"PK")
    for given, count, said in (
        (file, 0, "leave --hints out"),
        (None, 4, "asks for 4 hints"),
        (tmp_path / "other.npz", 4, "not a file that fac corpus embed made"),
        (tmp_path / "none.npz", 4, "not a file that fac corpus embed made"),
        (file, 4, "too few"),
    ):
        with pytest.raises(ConfigError, match=said):
            Hints.of(given, clips(5), count)
