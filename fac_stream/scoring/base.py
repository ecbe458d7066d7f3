"""What the batcher and the calls need of a scorer."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fac_stream.audio.frames import Samples
from fac_stream.errors import ScorerError
from fac_stream.events import SkipReason


class Scorer(Protocol):
    """Scores batches of windows. Used from one thread at a time; stateless between calls."""

    @property
    def model(self) -> str:
        """Name and short hash of the bundle, as events carry it."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    def score(self, windows: Samples) -> Samples:
        """float32 ``[B, 32000]`` to calibrated probabilities of synthetic speech, float32 ``[B]``.

        Raises:
            ScorerError: the backend failed, or returned values that are not finite.
        """


def checked(scores: Samples, count: int) -> Samples:
    """Let through what is an answer for ``count`` windows.

    Raises:
        ScorerError: a score is missing, is not finite or lies outside [0, 1].
    """
    if scores.shape != (count,):
        raise ScorerError(f"the scorer answered {scores.shape} for {count} windows")
    if not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise ScorerError("the scorer answered with values that are no probabilities")
    return np.asarray(scores, np.float32)


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """What one window said: exactly one of ``score`` and ``skipped`` is None."""

    score: float | None
    skipped: SkipReason | None
    speech_s: float
    level_dbfs: float | None
    """RMS; None for digital silence or where it was not measured."""
