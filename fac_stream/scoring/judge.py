"""From windows to verdicts: speech first, then the score. Pure but for the clock that measures it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fac_stream.audio.frames import Window
from fac_stream.audio.level import rms_dbfs
from fac_stream.audio.speech import SpeechGate
from fac_stream.config import Speech
from fac_stream.events import SkipReason
from fac_stream.scoring.base import Scorer, Scores, WindowVerdict

LOSSY = 0.05
"""Share of a window that was made up in place of lost packets, above which its score deserves less trust."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdicts in the order of the windows, and what they took."""

    verdicts: list[WindowVerdict]
    gate_s: float
    score_s: float

    @property
    def scored(self) -> int:
        """How many windows got a score."""
        return sum(verdict.score is not None for verdict in self.verdicts)


class Judge:
    """Asks the scorer about windows with enough speech, and about no others."""

    def __init__(self, scorer: Scorer, gate: SpeechGate, speech: Speech) -> None:
        self._scorer = scorer
        self._gate = gate
        self._speech = speech

    def judge(self, windows: Sequence[Window]) -> Judgement:
        """One verdict a window; ``windows`` must not be empty.

        Raises:
            ScorerError: the speech gate or the scorer failed.
        """
        started = time.perf_counter()
        samples = np.stack([window.samples for window in windows])
        levels = [rms_dbfs(row) for row in samples]
        speech = self._gate.speech_s(samples)
        gated = time.perf_counter()
        # With min_s at 0 any speech is enough, but none is not.
        chosen = np.flatnonzero((speech > 0) & (speech >= self._speech.min_s)).tolist()
        verdicts = [
            WindowVerdict(None, SkipReason.NO_SPEECH, _share(seconds, window), level)
            for window, seconds, level in zip(windows, speech, levels, strict=True)
        ]
        if chosen:
            scores = self._scorer.score(samples[chosen])
            for place, i in enumerate(chosen):
                verdicts[i] = self._verdict(scores, place, windows[i], verdicts[i])
        return Judgement(verdicts, gated - started, time.perf_counter() - gated)

    def _verdict(self, scores: Scores, place: int, window: Window, unscored: WindowVerdict) -> WindowVerdict:
        """The verdict on a window that passed the gate: the network may still hear no speech in it."""
        if scores.speech is not None and scores.speech[place] < self._speech.network_threshold:
            return replace(unscored, speech_s=0.0)
        lossy = ("lossy",) if window.concealed > LOSSY else ()
        quality = (*scores.quality[place], *lossy)
        score, run = float(scores.synthetic[place]), scores.runs[place]
        return replace(unscored, score=score, skipped=None, quality=quality, run=run)


def _share(speech_s: float, window: Window) -> float:
    """A short segment fills its window by repetition; its speech counts once."""
    return float(speech_s) * window.span / len(window.samples)
