"""What a bundle knows of deciding: what its evidence is worth, and thresholds by channel, fitted on dev."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

Profile = Literal["wideband", "telephone", "mixed"]
"""What is heard on a leg: one voice at 16 kHz, one voice over a telephone, or more voices than one."""

Point = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(ge=0)]]
Points = Annotated[tuple[Point, ...], Field(min_length=2, max_length=64)]
"""Rate and threshold: the rates rise, the thresholds do not."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Curves(_Frozen):
    """Which thresholds give which error rates, for one profile."""

    alarm: Points
    """False alarms per 100 hours of human speech → evidence for synthetic."""
    human: Points
    """Share of synthetic voices called human → evidence for human."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        for points in (self.alarm, self.human):
            rates, thresholds = zip(*points, strict=True)
            if sorted(set(rates)) != list(rates) or sorted(thresholds, reverse=True) != list(thresholds):
                raise ValueError("rates must rise and thresholds must not")
        return self


class DecisionTables(_Frozen):
    """How the windows of this bundle add up to a decision."""

    shrink: Annotated[float, Field(gt=0, le=1)]
    """What two seconds of new speech count for in a sum of log-likelihood ratios."""
    alarm_reference: Annotated[float, Field(ge=0)]
    """Log-likelihood ratio above which a window is evidence for synthetic (Page's reference value)."""
    human_reference: Annotated[float, Field(ge=0)]
    """The same, negative, for human."""
    wideband: Curves
    telephone: Curves
    mixed: Curves
    measured: dict[str, JsonValue] = {}
    """What these thresholds gave on test."""

    def curves(self, profile: Profile) -> Curves:
        """Of a profile."""
        return {"wideband": self.wideband, "telephone": self.telephone, "mixed": self.mixed}[profile]


def threshold(points: Sequence[tuple[float, float]], rate: float) -> float:
    """The threshold at a rate: linear in the rate's logarithm, and at the ends the ends'."""
    if rate <= points[0][0]:
        return points[0][1]
    for (low, above), (high, below) in pairwise(points):
        if rate <= high:
            share = math.log(rate / low) / math.log(high / low)
            return above + share * (below - above)
    return points[-1][1]
