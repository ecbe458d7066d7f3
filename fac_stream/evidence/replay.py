"""Score evidence again, as it was scored."""

from dataclasses import dataclass

import numpy as np

from fac_stream.errors import ScorerError
from fac_stream.evidence.record import Excerpt, ScoredWindow
from fac_stream.scoring.base import Scorer


@dataclass(frozen=True, slots=True)
class Replayed:
    """A window that was scored twice."""

    window: ScoredWindow
    """As it was."""
    score: float
    """As it is now."""

    @property
    def same(self) -> bool:
        """Whether not a bit differs."""
        return self.score == self.window.score


def replay(excerpt: Excerpt, scorer: Scorer) -> list[Replayed]:
    """Score every window that had a score, in a run of as many windows as then.

    The others of that run belong to other calls and are not kept; copies of the window stand in for them.

    Raises:
        ScorerError: the scorer has another bundle, which it names, or failed.
    """
    record = excerpt.record
    if scorer.model != record.bundle:
        raise ScorerError(
            f"{record.alert_id} was scored by {record.bundle} (version {record.bundle_version}), and this is "
            f"{scorer.model}: give the folder of that bundle with --bundle"
        )
    return [
        Replayed(window, _score(excerpt, window, scorer))
        for window in record.windows
        if window.score is not None
    ]


def _score(excerpt: Excerpt, window: ScoredWindow, scorer: Scorer) -> float:
    samples = np.repeat(excerpt.window(window)[None], max(1, window.run), axis=0)
    return float(scorer.score(samples).synthetic[0])
