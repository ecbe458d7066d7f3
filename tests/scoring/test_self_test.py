"""A machine that scores otherwise than the one that trained notices."""

import asyncio

import numpy as np
import pytest

from fac_model.bundle import Bundle
from fac_model.self_test import known_sounds
from fac_stream.config import Batching, Speech
from fac_stream.errors import RefusedError, ScorerError
from fac_stream.scoring.base import scores_of
from fac_stream.scoring.batcher import Batcher
from fac_stream.scoring.onnx_scorer import OnnxScorer
from fac_stream.scoring.self_test import TOLERANCE, SelfTest, check
from tests.fakes import FakeGate, FakeScorer


@pytest.fixture(scope="module")
def shipped():
    """The bundle that an installation scores with."""
    return Bundle.load()


class Drifting:
    """Scores as the bundle does, with logits that are off."""

    def __init__(self, bundle, off):
        self.bundle, self.off = bundle, off
        self.model, self.device, self.calibration = bundle.model_id, "cpu", bundle.manifest.calibration

    def score(self, windows):
        """The known logits, off."""
        logits = np.array(self.bundle.manifest.self_test, np.float32)
        return scores_of(self.bundle.manifest, [logits + np.float32(self.off)], windows)


def test_the_shipped_bundle_passes(shipped):
    """Whatever this machine is, its scores are those of the bundle; the sounds are heard as different."""
    known = np.array(shipped.manifest.self_test)

    assert check(shipped.manifest, OnnxScorer(shipped, 1)) is None
    assert np.ptp(known[:, 0]) > 10 * TOLERANCE["float32"]


def test_the_sounds_are_always_the_same():
    """No library draws them: whoever reads a bundle in ten years makes the same."""
    sounds = known_sounds(32_000)

    assert sounds.dtype == np.float32
    assert sounds.shape == (3, 32_000)
    assert np.abs(sounds).max() < 1.0
    expected = ((0.0450655, 0.44606), (0.1414213, 0.2), (0.0225883, 0.05))
    for sound, (level, peak) in zip(sounds, expected, strict=True):
        assert sound.std() == pytest.approx(level, rel=1e-4)
        assert np.abs(sound).max() == pytest.approx(peak, rel=1e-3)


@pytest.mark.parametrize("off", [0.5, -0.5, 5.0])
def test_scores_that_drifted_are_told(shipped, off):
    """With what to do; a difference that rounding makes is none."""
    assert "do not trust the scores" in check(shipped.manifest, Drifting(shipped, off))
    assert check(shipped.manifest, Drifting(shipped, 1e-3)) is None


def test_a_bundle_without_known_answers_is_not_judged(shipped):
    """It was made by an older version."""
    manifest = shipped.manifest.model_copy(update={"self_test": None})

    assert check(manifest, FakeScorer()) is None


async def test_it_runs_beside_the_scoring_and_ends_nothing(shipped):
    """In the scoring thread; a model that fails, or fails to answer, is a problem until it passes again."""
    broken = [ScorerError("out of memory")]

    class Failing(Drifting):
        def score(self, windows):
            if broken:
                raise broken[0]
            return super().score(windows)

    batcher = Batcher(FakeScorer(), FakeGate(), Speech(), Batching())
    test = SelfTest(shipped, Failing(shipped, 0.0), batcher, every_s=3600.0)
    await test.look()
    assert test.problem is None  # nothing scores yet
    async with asyncio.TaskGroup() as group:
        running = group.create_task(batcher.run())
        await asyncio.sleep(0)
        await test.look()
        assert test.problem == "model self-test: out of memory"
        broken.clear()
        await test.look()
        assert test.problem is None
        running.cancel()
    with pytest.raises(RefusedError):
        await batcher.between_batches(lambda: None)
