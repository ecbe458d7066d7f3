import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.scoring.base import Scores
from fac_stream.scoring.saliency import (
    BANDS,
    COLUMNS,
    FRAME,
    Occlusion,
    drops,
    edges_hz,
    log_likelihood,
    picture,
    saliency_of,
)

WINDOW = 2 * SAMPLE_RATE
ALL = [(band, column) for band in range(BANDS) for column in range(COLUMNS)]
cells = st.lists(st.sampled_from(ALL), min_size=1, max_size=20, unique=True)


class BuzzScorer:
    """Says how much of a window lies at 2 kHz, as a probability: one part of the sound drives it."""

    model, version, device, tables = "buzz@0", "0", "cpu", None

    def score(self, windows):
        """Score float32 ``[B, 32000]``."""
        power = np.abs(np.fft.rfft(windows, axis=1))[:, 3800:4200].max(axis=1) / WINDOW
        synthetic = (1.0 / (1.0 + np.exp(2.0 - 400.0 * power))).astype(np.float32)
        return Scores(synthetic, None, [[] for _ in windows], [len(windows)] * len(windows))


def noise(seed=0):
    """A window of faint noise."""
    return (0.01 * np.random.default_rng(seed).standard_normal(WINDOW)).astype(np.float32)


def with_buzz(start_s, seconds=0.25, hertz=2000.0):
    """Noise with a tone somewhere in it."""
    wave = noise()
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    at = round(start_s * SAMPLE_RATE)
    wave[at : at + len(time)] += (0.3 * np.hanning(len(time)) * np.sin(2 * np.pi * hertz * time)).astype("f4")
    return wave


@pytest.mark.parametrize("start_s", [0.0, 0.5, 1.125, 1.75])
def test_the_cell_that_drives_the_score_is_found(start_s):
    """Hiding the injected buzz costs the score most, in its band and its eighth of a second."""
    found = saliency_of(with_buzz(start_s), BuzzScorer())

    band, column = np.unravel_index(found.drops.argmax(), found.drops.shape)
    assert edges_hz()[band] <= 2000.0 <= edges_hz()[band + 1]
    assert start_s <= (column + 0.5) * 2.0 / COLUMNS <= start_s + 0.25
    assert found.drops[:, : int(start_s * 8)].max(initial=0.0) < found.drops.max() / 10


@settings(max_examples=25, deadline=None)
@given(cells, st.integers(0, 5))
def test_hiding_takes_away_and_adds_nothing(hidden, seed):
    """Hiding never makes a window louder, and what lies far from the cells stays sample for sample."""
    wave = noise(seed)

    left = Occlusion(wave).hidden(hidden)

    assert left.dtype == np.float32
    assert np.square(left).sum() < np.square(wave).sum()
    far = np.ones(WINDOW, bool)
    for _, column in hidden:
        at = column * WINDOW // COLUMNS
        far[max(0, at - FRAME) : at + WINDOW // COLUMNS + FRAME] = False
    assert np.array_equal(left[far], wave[far])


def test_everything_hidden_is_the_floor():
    """With all cells hidden only the quiet of each frequency is left: far less than what was there."""
    left = Occlusion(with_buzz(0.5)).hidden(ALL)

    assert np.abs(left).max() < 0.1 * np.abs(with_buzz(0.5)).max()


def test_waves_are_the_cells_in_order():
    """A batch holds one wave a cell, band by band, and ends with the grid."""
    occlusion = Occlusion(with_buzz(0.5))

    waves = occlusion.waves(COLUMNS * BANDS - 2, 64)

    assert waves.shape == (2, WINDOW)
    assert np.array_equal(waves[1], occlusion.hidden([(BANDS - 1, COLUMNS - 1)]))


def test_silence_has_nothing_to_hide():
    """Digital silence gives finite numbers, and no cell that matters."""
    found = saliency_of(np.zeros(WINDOW, np.float32), BuzzScorer())

    assert np.isfinite(found.llr)
    assert not found.drops.any()
    assert not picture(np.zeros(WINDOW, np.float32)).any()


@pytest.mark.parametrize(("score", "llr"), [(0.5, 0.0), (0.9, np.log(9.0)), (0.0, -15.942), (1.0, 15.942)])
def test_scores_become_log_likelihood_ratios(score, llr):
    """Certain scores stay finite: float32 knows no more than that."""
    assert log_likelihood(np.array([score]))[0] == pytest.approx(llr, abs=1e-3)


def test_a_cell_without_a_score_says_nothing():
    """Where hiding left no speech to score, the cell is empty, and its neighbours stand."""
    scores = np.full(1 + BANDS * COLUMNS, 0.5)
    scores[0], scores[2] = 0.9, np.nan

    found = drops(scores)

    assert np.isnan(found.drops[0, 1])
    assert np.nansum(found.drops) == pytest.approx((BANDS * COLUMNS - 1) * np.log(9.0))


def test_the_picture_shows_where_the_sound_is():
    """The loudest point of the picture lies at the buzz."""
    shown = picture(with_buzz(1.0))

    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert shown.shape[0] == FRAME // 2 + 1
    assert row * SAMPLE_RATE / FRAME == pytest.approx(2000.0, abs=32.0)
    assert 1.0 <= column * 128 / SAMPLE_RATE <= 1.25
