"""From window scores to a decision on a leg. Pure; no clock, no I/O.

Theory of operation
-------------------
Each scored window gives log-odds. They are averaged with exponential forgetting, where time is *seconds of
new speech*: a window that overlaps its predecessor counts only for what it adds, a window half of silence
counts half, and a pause forgets nothing. One window's log-odds are bounded, so that none decides alone.

The smoothed score moves the state with hysteresis; the rows are tried from the top::

    state now                smoothed score          next state
    ─────────────────────    ────────────────────    ──────────
    any                      ≥ raise_at              synthetic
    synthetic, suspicious    ≥ clear_at              (stays)
    human, unknown           ≥ suspect_at            suspicious
    any                      otherwise               human

Until ``min_speech_s`` of speech were scored the state is ``unknown``. Silence keeps the state; audio that was
lost, or could not be scored (late, overload, failure), makes it ``unknown`` once ``forget_after_s`` went by
so: what was not looked at is never called human.
"""

import math

from fac_stream.config import DecisionRule
from fac_stream.events import Decision, SkipReason

MAX_LOG_ODDS = math.log(0.99 / 0.01)

SEVERITY = (Decision.UNKNOWN, Decision.HUMAN, Decision.SUSPICIOUS, Decision.SYNTHETIC)
"""Decisions from the least to the most severe."""


def log_odds(probability: float) -> float:
    """The log-odds of a score, bounded to ±``MAX_LOG_ODDS``."""
    if probability <= 0.0:
        return -MAX_LOG_ODDS
    if probability >= 1.0:
        return MAX_LOG_ODDS
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, math.log(probability / (1.0 - probability))))


def worst(decisions: list[Decision]) -> Decision:
    """The most severe of several decisions; ``unknown`` for none."""
    return max(decisions, key=SEVERITY.index, default=Decision.UNKNOWN)


class LegDecision:
    """The decision on one leg, fed with its windows in order."""

    def __init__(self, rule: DecisionRule) -> None:
        self.rule = rule
        self.decision = Decision.UNKNOWN
        self.speech_s = 0.0
        """Seconds of speech scored so far."""
        self._sum = 0.0
        self._weight = 0.0
        self._end_s = 0.0
        self._blind_s = 0.0

    @property
    def smoothed(self) -> float | None:
        """The smoothed score, a probability; None before the first scored window."""
        if self._weight == 0.0:
            return None
        return 1.0 / (1.0 + math.exp(-self._sum / self._weight))

    def update(
        self,
        start_s: float,
        end_s: float,
        score: float | None,
        speech_s: float,
        skipped: SkipReason | None = None,
    ) -> Decision:
        """Take in the next window.

        Args:
            start_s: where the window begins, seconds since the start of the stream.
            end_s: where it ends.
            score: calibrated probability of synthetic speech; None when it was not scored.
            speech_s: seconds of speech in the window.
            skipped: why there is no score.
        """
        span_s = end_s - start_s
        new_s = min(end_s - self._end_s, span_s)
        self._blind_s += max(start_s - self._end_s, 0.0)
        self._end_s = end_s
        if score is None and skipped is not SkipReason.NO_SPEECH:
            self._blind_s += new_s
        if self._blind_s >= self.rule.forget_after_s:
            self._forget()
        if score is not None:
            self._accumulate(score, speech_s * new_s / span_s)
            self._blind_s = 0.0
            self.decision = self._next()
        return self.decision

    def _forget(self) -> None:
        self._sum = self._weight = self.speech_s = self._blind_s = 0.0
        self.decision = Decision.UNKNOWN

    def _accumulate(self, score: float, new_speech_s: float) -> None:
        kept = 0.5 ** (new_speech_s / self.rule.half_life_s)
        self._sum = self._sum * kept + log_odds(score) * new_speech_s
        self._weight = self._weight * kept + new_speech_s
        self.speech_s += new_speech_s

    def _next(self) -> Decision:
        smoothed = self.smoothed
        if smoothed is None or self.speech_s < self.rule.min_speech_s:
            return Decision.UNKNOWN
        if smoothed >= self.rule.raise_at:
            return Decision.SYNTHETIC
        if self.decision in (Decision.SYNTHETIC, Decision.SUSPICIOUS):
            return self.decision if smoothed >= self.rule.clear_at else Decision.HUMAN
        return Decision.SUSPICIOUS if smoothed >= self.rule.suspect_at else Decision.HUMAN
