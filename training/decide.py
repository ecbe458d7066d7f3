"""Fit a bundle's decision on dev, and measure on test how often it is wrong and how long it takes.

    fac decide runs/default/bundle corpus --store --plot decisions.png

Every window of every clip is heard once in each condition, gated and scored as in the daemon; calls are
assembled from what was said of them, see ``training.calls``, and go through the daemon's own decision. At
the joins of an assembled call no window spans two clips. Thresholds are fitted on dev, see
``training.evidence``, and nothing is chosen by what test says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fac_model.bundle import Bundle
from fac_model.decision import DecisionTables, Profile
from fac_stream.calls.decision import Thresholds
from fac_stream.config import DecisionRule, Speech
from fac_stream.errors import FacError
from training.calls import PROFILES, Call, Calls, Outcome, outcome
from training.dataset import Corpus
from training.decision_page import picture
from training.evaluate import Work, thinned
from training.evidence import CONDITIONS, fit_tables, hear
from training.intervals import rate_interval, ratio_interval
from training.manifest import Label, Split
from training.utterances import Utterance

ROUNDS = 5
SEED = 1
RATES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""False alarms per 100 hours, of the curve."""
SPOKEN = (Label.REAL, Label.FAKE)

Figures = dict[str, Any]


def decide(
    bundle: Path | None,
    data: Path,
    *,
    store: bool = False,
    limit: int | None = None,
    plot: Path | None = None,
) -> Figures:
    """Fit on dev, measure on test.

    Args:
        bundle: its folder; None for the shipped one.
        data: manifest CSV or folder.
        store: keep tables and figures in the bundle; its id stays.
        limit: the most clips of each label and split, evenly chosen.
        plot: PNG to be written.

    Returns:
        What ``training.decision_page.page`` shows.

    Raises:
        ManifestError: dev or test lacks a class.
        BundleError: the bundle is damaged or cannot be written.
        ScorerError: the gate or the model failed.
        FacError: there is no folder for the plot, no human speech in test, or too little in dev to store
            anything.
    """
    if plot and not plot.parent.is_dir():
        raise FacError(f"--plot {plot}: there is no folder {plot.parent}; make it first")
    loaded, corpus = Bundle.load(bundle), Corpus.open(data)
    for split in (Split.DEV, Split.TEST):
        corpus.speech(split)
    dev = thinned(corpus.part(Split.DEV, *SPOKEN), limit)
    test = thinned(corpus.part(Split.TEST, *SPOKEN, Label.NONSPEECH), limit)
    with Work(len(CONDITIONS) * (len(dev.clips) + len(test.clips))) as work:
        fitted = fit_tables(hear(loaded, dev, work.begin("dev", len(CONDITIONS) * len(dev.clips))))
        if store and not fitted:
            raise FacError("the speech gate hears too little in split dev to fit thresholds: none to store")
        heard = hear(loaded, test, work.begin("test", len(CONDITIONS) * len(test.clips)))
    speech = [each for each in heard if each.clip.label in SPOKEN]
    figures = {
        "model": loaded.model_id,
        "rule": {"false_alarms_per_100h": _RULE.false_alarms_per_100h, "miss_rate": _RULE.miss_rate},
        "tables": "bundle" if fitted else "theory",
        "clips": len(test.clips),
        "profiles": {
            profile: measure(Calls.of(speech, profile, ROUNDS, SEED), fitted, profile) for profile in PROFILES
        },
        "gate": {
            name: gate_figures([each for each in heard if each.condition == name]) for name in CONDITIONS
        },
    }
    if fitted:
        figures |= {name: getattr(fitted, name) for name in ("shrink", "alarm_reference", "human_reference")}
    if store and fitted:
        loaded.update(decision=fitted.model_copy(update={"measured": figures}))
    if plot:
        plot.write_bytes(picture(figures))
    return figures


_RULE = DecisionRule()


def measure(calls: Calls, tables: DecisionTables | None, profile: Profile) -> Figures:
    """One profile: what was asked for by default, and the curve over ``RATES``."""
    hours = sum(float(call.evidence[1].sum()) for call in calls.human) / 3600 / calls.rounds
    if not hours:
        raise FacError("the speech gate hears no human speech in split test: nothing can be measured on it")
    curve = [_at(calls, tables, profile, rate) for rate in RATES]
    default = next((row for row in curve if row["asked"] == _RULE.false_alarms_per_100h), None)
    return {
        "human_hours": round(hours, 2),
        "calls": {
            name: round(len(getattr(calls, name)) / calls.rounds) for name in ("human", "synthetic", "switch")
        },
        "default": default or _at(calls, tables, profile, _RULE.false_alarms_per_100h),
        "curve": curve,
    }


def _at(calls: Calls, tables: DecisionTables | None, profile: Profile, rate: float) -> Figures:
    rule = DecisionRule(false_alarms_per_100h=rate)
    limits = Thresholds.of(rule, tables, profile)
    human, synthetic, switch = (
        [outcome(call, limits) for call in each] for each in (calls.human, calls.synthetic, calls.switch)
    )
    alarms = [float(each.false_alarms) for each in human]
    hundreds = [each.human_s / 360_000 for each in human]
    return {
        "asked": rate,
        "alarm": round(limits.alarm, 3),
        "false_alarms": rate_interval(alarms, hundreds, _makers(calls.human), calls.rounds),
        "detected": _share([each.delay_s < np.inf for each in synthetic], calls.synthetic),
        "detected_after_switch": _share([each.delay_s < np.inf for each in switch], calls.switch),
        "delay_s": _delay(synthetic),
        "delay_after_switch_s": _delay(switch),
        "called_human": {
            "human": _share([each.called_human for each in human], calls.human),
            "synthetic": _share([each.called_human for each in synthetic], calls.synthetic),
        },
    }


def _makers(calls: Sequence[Call]) -> list[str]:
    return [call.maker for call in calls]


def _share(hits: Sequence[bool], calls: Sequence[Call]) -> dict[str, float]:
    return ratio_interval([float(hit) for hit in hits], [1.0] * len(hits), _makers(calls))


def _delay(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Of those that were found; None where none was."""
    found = [each.delay_s for each in outcomes if each.delay_s < np.inf]
    if not found:
        return {"median": None, "p90": None}
    median, p90 = np.percentile(found, [50, 90])
    return {"median": round(float(median), 1), "p90": round(float(p90), 1)}


def gate_figures(heard: Sequence[Utterance]) -> Figures:
    """How the gate as the daemon uses it does in one condition, by windows; intervals over clips.

    A window of a voice counts as speech where half a second of it is near its clip's loud parts.

    Returns:
        ``passed``, non-speech with a score, and that ``by_kind``; ``missed``, speech without one.
    """
    other = [each for each in heard if each.clip.label == Label.NONSPEECH]
    spoken = [each for each in heard if each.clip.label != Label.NONSPEECH]
    kinds = sorted({each.clip.kind for each in other})
    return {
        "passed": _passed(other),
        "by_kind": {kind: _passed([each for each in other if each.clip.kind == kind]) for kind in kinds},
        "missed": _missed(spoken),
    }


def _passed(heard: Sequence[Utterance]) -> Figures | None:
    if not heard:
        return None
    scored = [float(np.sum(~np.isnan(each.scores))) for each in heard]
    counts = [float(len(each.scores)) for each in heard]
    clips = [str(number) for number in range(len(heard))]
    return {"windows": int(sum(counts)), **ratio_interval(scored, counts, clips)}


def _missed(heard: Sequence[Utterance]) -> Figures | None:
    least_s = Speech().min_s
    spoken = [each.active_s >= least_s for each in heard]
    unscored = [float(np.sum(np.isnan(each.scores[rows]))) for each, rows in zip(heard, spoken, strict=True)]
    counts = [float(rows.sum()) for rows in spoken]
    if not sum(counts):
        return None
    clips = [str(number) for number in range(len(heard))]
    return {"windows": int(sum(counts)), **ratio_interval(unscored, counts, clips)}
