"""What a larger network notes, and a small one learns to guess."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fac_model.bundle import Bundle
from fac_stream.cli import app
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
    assert hints.by == "mine:it, 200 of 203 clips"
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
    assert ours.manifest.training["hinted_by"] == f"mine:spectrum, {len(both)} of {len(both)} clips"
    assert "dev_speech_eer" not in ours.manifest.training["history"][0], "a guess is no speech output"
    path = recipe_file(tmp_path, epochs=1, learning_rate=1e-12, hints=3)
    on = Bundle.load(train(path, tones, tmp_path / "on", begin=tmp_path / "out", hints=file))
    assert on.manifest.training["begun_with"] == "tiny 1, epoch 3 of 3"


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(("function", "said"), [("nothing", "not finite"), ("uneven", "shape")])
def test_an_embedder_must_give_as_many_numbers_of_every_clip(tones, tmp_path, function, said):
    """What is no embedding is refused with the clip's name, and no file is left."""
    with pytest.raises(FacError, match=said):
        embed(tones, f"mine:{function}", tmp_path / "hints.npz")
    assert not (tmp_path / "hints.npz").exists()


def test_hints_and_recipe_suit_each_other(tmp_path):
    """One without the other, or a file that knows too little, are refused before anything is trained."""
    file = written(tmp_path / "h.npz", ["c0", "c1"], np.eye(2, 9))
    names = [f"c{i}" for i in range(20)]
    flat = written(tmp_path / "flat.npz", names, np.outer(np.arange(20), np.arange(9)))
    for given, count, said in (
        (file, 0, "leave --hints out"),
        (None, 4, "asks for 4 hints"),
        (file, 4, "names 2 of the 20 clips"),
        (flat, 4, "fewer than 4 different things"),
        (flat, 10, "fewer than 10 different things"),
    ):
        with pytest.raises(ConfigError, match=said):
            Hints.of(given, clips(20), count)


def test_a_file_of_hints_is_read_with_care(tmp_path):
    """Whatever else it holds, or half of it, is refused in words."""
    whole = written(tmp_path / "whole.npz", [f"c{i}" for i in range(9)], np.eye(9)).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    np.save(tmp_path / "array.npy", np.eye(9))
    for number, content in enumerate(
        (b"", b"PK", whole[: len(whole) // 2], bytes(damaged), (tmp_path / "array.npy").read_bytes())
    ):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not a file that fac corpus embed made"):
            Hints.of(path, clips(9), 2)
    for name, names, rows in (
        ("short", ["c0"], np.eye(9)),
        ("row", ["c0"], np.ones(9)),
        ("nan", ["c0"], np.full((1, 9), np.nan)),
    ):
        with pytest.raises(ConfigError, match=r"do not fit|not finite"):
            Hints.of(written(tmp_path / f"{name}.npz", names, rows), clips(9), 2)
    with pytest.raises(ConfigError, match="not a file"):
        Hints.of(tmp_path / "none.npz", clips(9), 2)


@pytest.mark.usefixtures("mine")
def test_an_embedding_goes_on_where_it_was(tones, tmp_path):
    """What the file has is kept, byte for byte; another embedder's file is not added to."""
    file = tmp_path / "hints.npz"
    count = embed(tones, "mine:spectrum", file)
    with np.load(file) as parts:
        names, rows = parts["names"], parts["rows"]
    written(file, names[5:], rows[5:] + np.float16(1.0))
    with pytest.raises(ConfigError, match="has the notes of mine:it"):
        embed(tones, "mine:spectrum", file)
    with file.open("wb") as half:
        np.savez(half, names=names[5:], rows=rows[5:] + np.float16(1.0), by=np.array("mine:spectrum"))
    assert embed(tones, "mine:spectrum", file) == 5
    with np.load(file) as parts:
        again = dict(zip(parts["names"].tolist(), parts["rows"], strict=True))
    assert len(again) == count
    np.testing.assert_array_equal(again[names[0]], rows[0])
    np.testing.assert_array_equal(again[names[5]], rows[5] + np.float16(1.0))


def test_the_command_embeds(tones, tmp_path, mine):
    """``fac corpus embed`` says how many clips it asked about; what is no function is refused."""
    arguments = ["corpus", "embed", str(tones), "--out", str(tmp_path / "h.npz"), "--by"]
    done = CliRunner().invoke(app, [*arguments, "mine:spectrum"])
    assert done.exit_code == 0, done.output
    assert "h.npz" in done.stdout
    refused = CliRunner().invoke(app, [*arguments, "mine:np"])
    assert "has no function np" in str(refused.exception)
