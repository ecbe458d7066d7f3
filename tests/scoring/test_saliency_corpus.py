"""Whether saliency of the shipped model means something on real speech: the deletion test.

After Petsiuk, Das and Saenko, "RISE" (BMVC 2018): hide the most salient cells at once, and as many by chance.
"""

import numpy as np
import pytest
import soundfile
import soxr

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.config import Model
from fac_stream.scoring.backend import open_scorer
from fac_stream.scoring.saliency import BANDS, COLUMNS, Occlusion, log_likelihood, saliency_of

CLIPS = 3
HIDDEN = 24
"""Of 192 cells."""
DRAWS = 8


@pytest.fixture(scope="module")
def scorer():
    """The shipped model on CPU."""
    return open_scorer(Model(backend="onnx", device="cpu", threads=1))


def window_of(path):
    """The two seconds in the middle of a clip."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = soxr.resample(samples[:, 0], rate, SAMPLE_RATE)
    at = (len(wave) - 2 * SAMPLE_RATE) // 2
    return np.ascontiguousarray(wave[at : at + 2 * SAMPLE_RATE])


def falls(samples, scorer):
    """How far the log-likelihood ratio falls: the most salient cells hidden, and as many by chance."""
    saliency, occlusion = saliency_of(samples, scorer), Occlusion(samples)
    order = np.argsort(-saliency.drops, axis=None)
    rng = np.random.default_rng(5)
    chosen = [order[:HIDDEN], *(rng.choice(BANDS * COLUMNS, HIDDEN, replace=False) for _ in range(DRAWS))]
    waves = np.stack([occlusion.hidden([divmod(int(cell), COLUMNS) for cell in cells]) for cells in chosen])
    left = saliency.llr - log_likelihood(scorer.score(waves).synthetic)
    return float(left[0]), float(left[1:].mean())


@pytest.mark.timeout(600)
def test_hiding_what_is_salient_costs_more_than_hiding_by_chance(corpus_clips, scorer):
    """On synthetic speech of the test speakers the salient cells carry the score, clip by clip and by far."""
    clips = corpus_clips("fake", "test", CLIPS, min_s=3.0)

    pairs = [falls(window_of(clip), scorer) for clip in clips]

    salient, chance = np.mean(pairs, axis=0)
    assert all(fall > random for fall, random in pairs)
    assert salient > 2 * chance
