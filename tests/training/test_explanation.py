import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
from training.explanation import Seen, draw


def seen(drops):
    """A window with this grid over a grey spectrum."""
    spectrum = np.full((257, 251), 100, np.uint8)
    return Seen(4.0, 6.0, 2.5, spectrum, np.asarray(drops, float), np.linspace(0.0, 8000.0, len(drops) + 1))


def colours(path):
    """The colours of a picture, as ``[pixels, 3]``."""
    with Image.open(path) as shown:
        return np.asarray(shown.convert("RGB"), int).reshape(-1, 3)


def reddish(path):
    """How many pixels are clearly red."""
    red, green, blue = colours(path).T
    return int(((red > 200) & (green < 100) & (blue < 100)).sum())


def test_what_mattered_is_painted_red(tmp_path):
    """One strong cell of 192 paints some of the picture red; a grid of nothing paints none but the scale."""
    strong = np.zeros((12, 16))
    strong[3:6, 4:8] = 2.0

    draw(tmp_path / "strong.png", "strong", [(2.0, 0.4)], [(0.0, 2.0)], [seen(strong)])
    draw(tmp_path / "none.png", "none", [(2.0, 0.4)], [(0.0, 2.0)], [seen(np.zeros((12, 16)))])

    assert reddish(tmp_path / "strong.png") > 2 * reddish(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("scores", "windows"),
    [([], []), ([(2.0, None), (2.5, 0.3)], []), ([(2.0, None)], [seen(np.full((12, 16), np.nan))] * 3)],
)
def test_what_is_missing_is_left_out(tmp_path, scores, windows):
    """No scores, no windows, or windows in which nothing could be scored: a picture all the same."""
    draw(tmp_path / "x.png", r"$\no formula$", scores, [], windows)

    with Image.open(tmp_path / "x.png") as shown:
        assert shown.format == "PNG"
