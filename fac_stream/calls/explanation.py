"""Which windows drove a decision. Pure; no clock, no I/O.

Theory of operation
-------------------
A scored window is evidence: its bounded log-likelihood ratio, less the reference of ``decision.py``, times
the seconds of speech that are new in it. The evidence adds up as in Page's cumulative sum (1954)::

    sum                    ┌──┐   ┌────── alarm
                      ┌────┘  └───┘
          ┌──┐        │
      ────┘  └────────┘
                      here it was last zero: what came before did not move this decision, and is forgotten

Where the sum falls to zero the voice has proved as human as it seemed synthetic; a leg that comes to be
called human, or is forgotten as too much of it was lost, starts at zero, too; and as in the decision the sum
stops growing where the alarm is. Of the windows since then the few that brought most are
kept, and the weight of each is its share of all that spoke for a synthetic voice.
"""

import heapq
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fac_stream.calls.decision import log_odds
from fac_stream.events import Decision, DrivingWindow, Explanation, ScorePoint

MOST_WINDOWS = 10
MOST_POINTS = 60
"""Of the timeline: half a minute at the default hop."""
MOST_LOOKED_INTO = 3
"""Windows that share no sound: side by side their pictures are still large enough to be read."""
DIGITS = 4
"""Of what is told; windows are no more exact than that."""


Span = tuple[float, float]
"""Start and end of a window, seconds since the start of the call."""


class _Piece(NamedTuple):
    """What one window brought; the order is that of the heap, least evidence first."""

    evidence: float
    end_s: float
    start_s: float
    score: float
    quality: tuple[str, ...]


class Drivers:
    """The windows with most weight in the decision on one leg, fed with its scored windows in order."""

    def __init__(self, reference: float = 0.0, most: float = math.inf) -> None:
        """``reference``: log-likelihood ratio above which a window is evidence; ``most``: where that ends."""
        self._reference = reference
        self._most = most
        self._lapses = 0
        self._strongest: list[_Piece] = []  # a heap of at most MOST_WINDOWS
        self._for = 0.0  # all that spoke for a synthetic voice
        self._sum = 0.0  # less what spoke against it
        self._end_s = 0.0
        self._decision = Decision.UNKNOWN

    def add(
        self,
        start_s: float,
        end_s: float,
        score: float | None,
        speech_s: float,
        quality: tuple[str, ...] = (),
    ) -> None:
        """Take in the next window; one without a score is no evidence, but what it covers is not new again.

        Args:
            start_s: where it begins, seconds since the start of the call.
            end_s: where it ends.
            score: calibrated probability of synthetic speech; None when it was not scored.
            speech_s: seconds of speech in it.
            quality: its flags.
        """
        span_s = end_s - start_s
        new_s = min(end_s - self._end_s, span_s)
        self._end_s = end_s
        if score is None:
            return
        evidence = (log_odds(score) - self._reference) * speech_s * new_s / span_s
        total = self._sum + evidence
        self._sum = min(total, self._most)
        if total <= 0.0:
            self.forget()
        elif evidence > 0.0:
            self._for += evidence
            self._keep(_Piece(evidence, end_s, start_s, score, quality))

    def decided(self, decision: Decision, lapses: int = 0) -> None:
        """What is said of the leg after the window that is added next, and how often it was forgotten.

        One that was, or that is human, or unknown, again starts anew.
        """
        cleared = decision is not self._decision and decision in (Decision.HUMAN, Decision.UNKNOWN)
        if cleared or lapses != self._lapses:
            self.forget()
        self._decision, self._lapses = decision, lapses

    def forget(self) -> None:
        """Start anew."""
        self._strongest.clear()
        self._for = self._sum = 0.0

    def explain(
        self,
        timeline: Iterable[tuple[float, float | None]],
        quality: list[str],
        model: str,
        bundle_version: str,
    ) -> Explanation:
        """Why the leg is called synthetic now.

        Args:
            timeline: end, in seconds, and score of the leg's last windows, at most ``MOST_POINTS``.
            quality: the leg's flags.
            model: name and hash of the bundle.
            bundle_version: as the bundle calls itself.
        """
        return Explanation(
            windows=[self._told(piece) for piece in sorted(self._strongest, reverse=True)],
            timeline=[ScorePoint(end_s=end_s, score=_rounded(score)) for end_s, score in timeline],
            quality=quality,
            model=model,
            bundle_version=bundle_version,
        )

    def _keep(self, piece: _Piece) -> None:
        if len(self._strongest) < MOST_WINDOWS:
            heapq.heappush(self._strongest, piece)
        else:
            heapq.heappushpop(self._strongest, piece)

    def _told(self, piece: _Piece) -> DrivingWindow:
        return DrivingWindow(
            start_s=piece.start_s,
            end_s=piece.end_s,
            score=round(piece.score, DIGITS),
            weight=round(min(1.0, piece.evidence / self._for), DIGITS),
            quality=list(piece.quality),
        )


def strongest(
    explanation: Explanation | None, held: Mapping[Span, float], at_s: float | None = None
) -> list[Span]:
    """Which windows are worth a closer look: they drove the decision and share no sound; the strongest first.

    Args:
        explanation: of the decision; None where there is none.
        held: the scored windows that can be looked into; where none of them drove it, the highest score is.
        at_s: only that one of them whose middle is nearest to this second.
    """
    if at_s is not None:
        return sorted(held, key=lambda span: abs(sum(span) / 2 - at_s))[:1]
    windows = explanation.windows if explanation else []
    driving = [(window.start_s, window.end_s) for window in windows]
    found = [span for span in driving if span in held] or sorted(held, key=lambda span: -held[span])[:1]
    chosen: list[Span] = []
    for start_s, end_s in found:
        if all(end_s <= begin or stop <= start_s for begin, stop in chosen):
            chosen.append((start_s, end_s))
    return chosen[:MOST_LOOKED_INTO]


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, DIGITS)
