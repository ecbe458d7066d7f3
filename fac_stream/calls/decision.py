"""From window scores to a decision on a leg. Pure; no clock, no I/O.

Theory of operation
-------------------
Each scored window gives a calibrated log-likelihood ratio ``x``, synthetic over human, bounded so that none
decides alone. Two sums with a floor at 0 (CUSUM, Page 1954) collect it, one a hypothesis::

    synthetic  ←  max(0, synthetic + weight · ( x - alarm reference))
    human      ←  max(0, human     + weight · (-x - human reference))

    weight = shrink · new speech / 2 s

So what a voice was before does not delay what it becomes: while it sounds human, the evidence for synthetic
rests at 0, and a voice that turns synthetic in mid-call raises it from there. Time is *seconds of new
speech*: a window that overlaps its predecessor counts only for what it adds, a window half of silence counts
half, and a pause forgets nothing. That, and ``shrink``, correct for windows that are not independent.

The sums move the state; the rows are tried from the top::

    state now                evidence                next state       the other sum
    ─────────────────────    ────────────────────    ─────────────    ─────────────
    any                      synthetic ≥ alarm       synthetic        human ← 0
    any                      human ≥ clear           human            synthetic ← 0 on entry
    human, unknown           synthetic ≥ alarm/2     suspicious       human ← 0
    any                      otherwise               (stays)

No sum exceeds its threshold, so hysteresis is bounded: to leave ``synthetic`` or ``suspicious`` takes as much
evidence for human as to be called human in the first place. ``unknown`` means that neither was reached yet.

``alarm`` is what the bundle's table gives for ``false_alarms_per_100h`` on this leg's profile, ``clear`` what
it gives for ``miss_rate``; both tables were fitted on dev. Without a table theory stands in: references 0,
shrink 1, a CUSUM of independent windows exceeds ``h`` less often than once in ``e^h`` windows (Lorden 1971).
So do both sums: of synthetic voices ``n`` windows long at most ``n · e^-h`` have evidence ``h`` for human, as
each window may begin one of Wald's tests (1945), and ``n`` is a minute's, of which the tables speak, too.

Silence keeps the state; audio that was lost, or could not be scored (late, overload, failure), makes it
``unknown`` once ``forget_after_s`` went by so: what was not looked at is never called human.
"""

import math
from dataclasses import dataclass, replace

from fac_model.decision import DecisionTables, Profile, threshold
from fac_stream.config import DecisionRule
from fac_stream.events import Decision, SkipReason

MAX_LOG_ODDS = math.log(0.99 / 0.01)
WINDOW_S = 2.0
WINDOWS_PER_100H = 100 * 3600 / WINDOW_S
WINDOWS_PER_VOICE = 60 / WINDOW_S
"""Of a synthetic voice that is not to be called human: a minute, after which some are, by and by."""
HALF_LIFE_S = 3.0
"""Seconds of speech after which a window counts half in the smoothed score, which people see."""
TELEPHONE_HZ = 8000

SEVERITY = (Decision.UNKNOWN, Decision.HUMAN, Decision.SUSPICIOUS, Decision.SYNTHETIC)
"""Decisions from the least to the most severe."""


def log_odds(probability: float) -> float:
    """The log-odds of a score, bounded to ±``MAX_LOG_ODDS``."""
    if probability <= 0.0:
        return -MAX_LOG_ODDS
    if probability >= 1.0:
        return MAX_LOG_ODDS
    return max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, math.log(probability / (1.0 - probability))))


def _chance(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-odds))


def worst(decisions: list[Decision]) -> Decision:
    """The most severe of several decisions; ``unknown`` for none."""
    return max(decisions, key=SEVERITY.index, default=Decision.UNKNOWN)


def profile_of(leg: str, sample_rate: int) -> Profile:
    """Which table a leg needs: by its name and the rate, in Hertz, at which its source sends."""
    if leg == "mixed":
        return "mixed"
    return "telephone" if sample_rate <= TELEPHONE_HZ else "wideband"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers of the table above, for one leg."""

    shrink: float
    alarm_reference: float
    human_reference: float
    alarm: float
    clear: float
    forget_after_s: float

    @classmethod
    def of(cls, rule: DecisionRule, tables: DecisionTables | None, profile: Profile) -> "Thresholds":
        """What an operator asked for, in this bundle's evidence; by theory where it has no tables."""
        if tables is None:
            alarm = math.log(WINDOWS_PER_100H / rule.false_alarms_per_100h)
            clear = math.log(WINDOWS_PER_VOICE / rule.miss_rate)
            found = cls(1.0, 0.0, 0.0, alarm, clear, rule.forget_after_s)
        else:
            curves = tables.curves(profile)
            found = cls(
                tables.shrink,
                tables.alarm_reference,
                tables.human_reference,
                threshold(curves.alarm, rule.false_alarms_per_100h),
                threshold(curves.human, rule.miss_rate),
                rule.forget_after_s,
            )
        return found if rule.raise_at is None else replace(found, alarm=rule.raise_at)

    @property
    def most(self) -> float:
        """Where evidence for synthetic stops growing, log-odds times seconds of speech."""
        return self.alarm * WINDOW_S / self.shrink

    @property
    def rises_above(self) -> float:
        """The score, a probability, above which a window is evidence for synthetic."""
        return _chance(self.alarm_reference)

    @property
    def falls_below(self) -> float:
        """The score, a probability, below which a window is evidence for human."""
        return _chance(-self.human_reference)


class LegDecision:
    """The decision on one leg, fed with its windows in order."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.decision = Decision.UNKNOWN
        self.speech_s = 0.0
        """Seconds of speech scored so far."""
        self.synthetic = 0.0
        """Evidence that the voice is synthetic, natural logarithm."""
        self.human = 0.0
        """Evidence that it is human."""
        self.lapses = 0
        """How often all was forgotten, because too much was not looked at."""
        self._sum = 0.0
        self._weight = 0.0
        self._end_s = 0.0
        self._blind_s = 0.0

    @property
    def smoothed(self) -> float | None:
        """The smoothed score, a probability, for people; None before the first scored window.

        A mean of log-odds that forgets with a half-life of ``HALF_LIFE_S`` of speech.
        """
        return _chance(self._sum / self._weight) if self._weight else None

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
        if self._blind_s >= self.thresholds.forget_after_s:
            self._forget()
        if score is not None:
            self._blind_s = 0.0
            self._accumulate(log_odds(score), speech_s * new_s / span_s)
            self.decision = self._next()
        return self.decision

    def _forget(self) -> None:
        self._sum = self._weight = self.speech_s = self._blind_s = 0.0
        self.synthetic = self.human = 0.0
        self.decision = Decision.UNKNOWN
        self.lapses += 1

    def _accumulate(self, odds: float, new_speech_s: float) -> None:
        self.speech_s += new_speech_s
        kept = 0.5 ** (new_speech_s / HALF_LIFE_S)
        self._sum = self._sum * kept + odds * new_speech_s
        self._weight = self._weight * kept + new_speech_s
        limits = self.thresholds
        weight = limits.shrink * new_speech_s / WINDOW_S
        synthetic = self.synthetic + weight * (odds - limits.alarm_reference)
        human = self.human + weight * (-odds - limits.human_reference)
        self.synthetic = min(max(synthetic, 0.0), limits.alarm)
        self.human = min(max(human, 0.0), limits.clear)

    def _next(self) -> Decision:
        limits = self.thresholds
        if self.synthetic >= limits.alarm:
            self.human = 0.0
            return Decision.SYNTHETIC
        if self.human >= limits.clear:
            if self.decision is not Decision.HUMAN:
                self.synthetic = 0.0
            return Decision.HUMAN
        if self.decision in (Decision.HUMAN, Decision.UNKNOWN) and self.synthetic >= limits.alarm / 2:
            self.human = 0.0
            return Decision.SUSPICIOUS
        return self.decision
