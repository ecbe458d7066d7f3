"""What a bundle is meant to reach, and what it reached: the table that comes first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
CONDITIONS = ("wideband", "g711")


@dataclass(frozen=True)
class Aim:
    """A row: what is measured, and at most what value is aimed at."""

    name: str
    find: Callable[[Row], Row | None]
    """From the findings of a condition to ``value``, ``low``, ``high`` and perhaps ``name``."""
    at_most: dict[str, float] = field(default_factory=dict)
    """By condition; a row without is there for comparison."""


def _nonspeech(gate: str, threshold: str) -> Callable[[Row], Row | None]:
    return lambda row: row["nonspeech"] and row["nonspeech"][gate][threshold]


def _alarms(threshold: str, which: str) -> Callable[[Row], Row | None]:
    return lambda row: row["false_alarm_summary"][threshold][which]


AIMS = (
    Aim("EER, whole clip", lambda row: row["clip_over_sources"]["eer"], {"wideband": 0.08, "g711": 0.12}),
    Aim("EER, one 2-s window", lambda row: row["window"]["eer"], {"wideband": 0.12, "g711": 0.16}),
    Aim(
        "false alarms at the alert threshold, worst human source",
        _alarms("alert", "worst"),
        dict.fromkeys(CONDITIONS, 0.10),
    ),
    Aim("… mean of the human sources", _alarms("alert", "mean")),
    Aim("false alarms at probability 0.5, worst human source", _alarms("even", "worst")),
    Aim("… mean of the human sources", _alarms("even", "mean")),
    Aim(
        "actDCF / minDCF",
        lambda row: row["clip_over_sources"]["dcf_ratio"],
        dict.fromkeys(CONDITIONS, 1.2),
    ),
    Aim(
        "non-speech called synthetic at the alert threshold, behind the speech gate",
        _nonspeech("gated", "alert"),
        dict.fromkeys(CONDITIONS, 0.01),
    ),
    Aim("… at probability 0.5, without the gate", _nonspeech("ungated", "even")),
)


def aims(found: Mapping[str, Row]) -> list[Row]:
    """A row an aim from the findings by condition.

    Returns:
        ``name``, ``ratio`` (whether it is one, else a rate) and ``conditions``: for each ``found`` with its
        interval, ``aim`` and ``met``, each None where there is none.
    """
    rows = []
    for aim in AIMS:
        cells = {}
        for condition in CONDITIONS:
            value = aim.find(found[condition]) if condition in found else None
            goal = aim.at_most.get(condition)
            met = value["value"] <= goal if value is not None and goal is not None else None
            cells[condition] = {"found": value, "aim": goal, "met": met}
        rows.append({"name": aim.name, "ratio": "DCF" in aim.name, "conditions": cells})
    return rows
