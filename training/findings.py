"""All that is found out about a bundle in one condition, as plain JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.breakdowns import NOT_STATED, by, false_alarms, human_sources, languages, matrix, worst_cells
from training.durations import by_duration
from training.intervals import DRAWS, with_intervals
from training.logits import Scored
from training.manifest import Clip
from training.outsiders import outsiders, speech_detection
from training.rules import Rules

Row = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What a bundle said in one condition; None for what the manifest does not hold."""

    speech: Scored
    nonspeech: Scored | None = None
    codec: Scored | None = None


def findings(heard: Heard, best: Sequence[int], rules: Rules, *, draws: int = DRAWS, seed: int = 0) -> Row:
    """Figures and breakdowns of one condition.

    Args:
        heard: in this condition.
        best: which window of each speech clip is *the* window where one window is asked for, ``[clips]``.
        rules: of the daemon.
        draws: of the bootstraps of the main figures.
        seed: of every bootstrap.

    Returns:
        ``clip`` and ``clip_over_sources``, all figures of whole clips with intervals over clips, and over
        generators and human sources; ``window``, those of one window a clip, and ``alert``, false alarms and
        misses at the alert threshold of clips, both over generators and sources; ``durations``; ``by_kind``,
        ``by_era``, ``by_generator``, ``by_language``; ``false_alarms`` by human source and their
        ``false_alarm_summary``; ``matrix`` and ``worst_cells``; ``nonspeech``, ``codec`` and
        ``speech_detection``, None where there are no such clips or the gate was not asked about speech.
    """
    speech, alert_llr = heard.speech, rules.alert_llr
    labels, llrs, makers = speech.labels, speech.llrs, speech.makers
    one = np.array([row[number] for row, number in zip(speech.windows, best, strict=True)])
    at_alert = with_intervals(
        # At the threshold an alert is raised; figures count what lies above it.
        labels,
        np.nextafter(llrs, np.inf) - alert_llr,
        makers,
        names=("false_alarms", "misses"),
        draws=draws,
        seed=seed,
    )
    sources = human_sources(speech, alert_llr)
    cells = matrix(speech)
    keys = {"by_kind": _kind, "by_era": lambda clip: clip.era, "by_generator": lambda clip: clip.generator}
    groups = {name: by(speech, key, alert_llr, seed=seed) for name, key in keys.items()}
    kinds = {clip.generator or NOT_STATED: _kind(clip) or NOT_STATED for clip in speech.clips}
    for row in groups["by_generator"]:
        row["kind"] = kinds[row["name"]]
    return {
        "clip": with_intervals(labels, llrs, draws=draws, seed=seed),
        "clip_over_sources": with_intervals(labels, llrs, makers, draws=draws, seed=seed),
        "window": with_intervals(labels, one, makers, draws=draws, seed=seed),
        "alert": at_alert,
        "durations": by_duration(speech, best, rules.call_llr, seed=seed),
        **groups,
        "by_language": languages(speech, alert_llr),
        "false_alarms": sources,
        "false_alarm_summary": false_alarms(sources, seed=seed),
        "matrix": cells,
        "worst_cells": worst_cells(cells),
        **_of_neither_class(heard, rules, seed),
    }


def _kind(clip: Clip) -> str:
    return clip.kind


def _of_neither_class(heard: Heard, rules: Rules, seed: int) -> Row:
    found: Row = {
        name: outsiders(part, rules) if part else None
        for name, part in (("nonspeech", heard.nonspeech), ("codec", heard.codec))
    }
    found["speech_detection"] = None
    if heard.nonspeech and heard.speech.speech_s is not None:
        found["speech_detection"] = speech_detection(heard.speech, heard.nonspeech, rules, seed=seed)
    return found
