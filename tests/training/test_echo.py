import pytest
import torch
from pydantic import ValidationError

from training import echo
from training.echo import Echoes
from training.lesson import Lesson
from training.recipe import Recipe

ROWS = 6


def batch(number):
    """Images whose values tell batch and row; classes in the same rows of every batch."""
    rows = torch.arange(ROWS, dtype=torch.float32)
    images = (100.0 * number + rows)[:, None, None, None].expand(ROWS, 1, 2, 3)
    return Lesson(images, rows % 2, (rows < 4).float(), (100.0 * number + rows)[:, None])


def test_every_row_is_that_row_of_a_kept_batch():
    """Rows keep their place, so that each drawn batch has the classes of every other."""
    echoes = Echoes(1)
    for number in range(5):
        echoes.keep(batch(number))
    seen = set()
    for _ in range(50):
        lesson = echoes.draw()
        images = lesson.images
        assert torch.equal(lesson.synthetic, batch(0).synthetic)
        assert torch.equal(lesson.speech, batch(0).speech)
        assert torch.equal(lesson.hints[:, 0], images[:, 0, 0, 0])
        assert (images == images[:, :, :1, :1]).all()
        values = images[:, 0, 0, 0]
        assert torch.equal(values % 100, torch.arange(ROWS, dtype=torch.float32))
        seen |= set((values // 100).int().tolist())
    assert seen == {0, 1, 2, 3, 4}


def test_the_oldest_batch_makes_room(monkeypatch):
    """No more than KEPT batches are held; what is drawn is among the latest."""
    monkeypatch.setattr(echo, "KEPT", 3)
    echoes = Echoes(1)
    for number in range(8):
        echoes.keep(batch(number))
    drawn = {int(value) // 100 for _ in range(50) for value in echoes.draw().images[:, 0, 0, 0]}
    assert drawn == {5, 6, 7}


def test_the_seed_decides():
    """Same seed, same echoes; another seed, others."""
    draws = []
    for seed in (1, 1, 2):
        echoes = Echoes(seed)
        for number in range(5):
            echoes.keep(batch(number))
        draws.append(torch.cat([echoes.draw().images for _ in range(5)]))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_echoes_need_classes_in_fixed_rows():
    """Where a batch's rows hold any class, echoing is refused."""
    with pytest.raises(ValidationError, match="echo"):
        Recipe(echo=2, sampling="plain", network={"name": "texture_cnn"}, name="x", version="1")
