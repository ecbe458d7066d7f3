"""Whether this machine scores as the one that trained: the bundle's known sounds, scored again.

At the start, and from time to time in the scoring thread between two batches. Memory that fails, a driver
that was replaced or a processor that computes something else changes scores without any error.
"""

import asyncio
from functools import partial

import numpy as np
import structlog

from fac_model.bundle import Bundle, BundleManifest
from fac_model.self_test import known_sounds
from fac_stream.audio.frames import Samples
from fac_stream.errors import RefusedError, ScorerError
from fac_stream.scoring.base import Scorer, scores_of
from fac_stream.scoring.batcher import Batcher

log = structlog.get_logger(__name__)

DEADLINE_S = 60.0
TOLERANCE = {"float32": 0.05, "int8": 1.0}
"""Largest difference of calibrated log-odds; a processor without instructions for int8 rounds otherwise."""
MAX_LOG_ODDS = 9.0
"""Beyond, a probability in float32 says too little."""


class SelfTest:
    """The test, and how it ended the last time."""

    def __init__(self, bundle: Bundle, scorer: Scorer, batcher: Batcher, every_s: float) -> None:
        self.problem: str | None = None
        """What is wrong with the scores, in words."""
        self._check = partial(check, bundle.manifest, scorer)
        self._batcher = batcher
        self._every_s = every_s

    async def run(self) -> None:
        """Test for ever; what it finds ends nothing."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Test once."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                self.problem = await self._batcher.between_batches(self._check)
        except TimeoutError:
            self.problem = f"model self-test: no answer within {DEADLINE_S:g} s"
        except ScorerError as error:
            self.problem = f"model self-test: {error}"
        except RefusedError:
            return  # the daemon is stopping
        if self.problem:
            log.error("the model fails its self-test", problem=self.problem)


def check(manifest: BundleManifest, scorer: Scorer) -> str | None:
    """Score the known sounds; what is wrong, in words.

    Raises:
        ScorerError: they could not be scored.
    """
    if manifest.self_test is None:
        return None
    sounds = known_sounds(manifest.front_end.window_samples)
    known = [np.array(manifest.self_test, np.float32)]
    expected = _log_odds(scores_of(manifest, known, sounds).synthetic)
    difference = float(np.abs(_log_odds(scorer.score(sounds).synthetic) - expected).max())
    if difference <= TOLERANCE[manifest.precision]:
        return None
    return (
        f"model self-test: known sounds do not get their known scores (log-odds differ by {difference:.2g}): "
        "do not trust the scores; check memory and drivers, try model.device: cpu, install the bundle again"
    )


def _log_odds(probability: Samples) -> Samples:
    odds = np.log(probability.astype(np.float64)) - np.log1p(-probability.astype(np.float64))
    bounded: Samples = np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS).astype(np.float32)
    return bounded
