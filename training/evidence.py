"""What the windows of a bundle are worth together, and which thresholds give which errors: fitted on dev.

Theory of operation
-------------------
``shrink``: the windows of ten seconds of one voice are summed as ``fac_stream.calls.decision`` does it, and
the sum is multiplied by what makes it the best calibrated (least cross-entropy, sources counting alike).
Windows that say the same because they share voice and room get less than 1.

References: a network takes some human voices for synthetic, second after second; without a reference value
their evidence would grow without end. The one is taken that finds most synthetic voices in time, at the
thresholds that give some rates of false alarms on dev. For human it is the same with the classes exchanged.

Thresholds: a CUSUM is a chain of Wald's tests, each from 0 to its peak and back (Page 1954). The rate of
peaks above ``h`` is counted where there are enough of them; above the ``TAIL``-th it falls exponentially, as
it does for a random walk with negative drift (Siegmund 1985), by the mean excess of those above. So a rate
of one in 100 hours comes from half an hour of speech by extrapolation, and is no surer than that.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from fac_model.bundle import Bundle
from fac_model.decision import Curves, DecisionTables, Point, threshold
from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.decision import MAX_LOG_ODDS, WINDOW_S
from fac_stream.config import Model, Speech
from fac_stream.scoring.backend import scorer_of
from fac_stream.scoring.judge import Judge
from training.calibrate import equal_shares
from training.calls import PROFILES, Call, Calls
from training.dataset import Corpus
from training.manifest import Label
from training.utterances import Floats, Utterance, utterances

ROUNDS = 10
SEED = 0
ALARM_RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
MISS_RATES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
CHOOSING_ALARM_RATES = (30.0, 100.0, 300.0)
CHOOSING_MISS_RATES = (0.05, 0.1, 0.2)
IN_TIME_S = 30.0
"""Of speech: what is found later helps few."""
REFERENCES = np.arange(0.25, 4.01, 0.25)
"""Not 0: the voices of dev take turns after some seconds, and one that is rated even may last for minutes."""
SHRINKS = np.linspace(0.02, 1.0, 50)
TAIL = 10
"""Peaks of one round above which the tail begins."""
PIECE_S = 10.0
LEAST = 0.05
"""By which a threshold exceeds the most that a single window can bring."""
LEAST_SPEECH_S = 60.0
"""Of either class in each condition; with less nothing is fitted."""

CONDITIONS = tuple(dict.fromkeys(name for names in PROFILES.values() for name in names))
Points = tuple[Point, ...]


def fit_decision(bundle: Bundle, dev: Corpus) -> Bundle:
    """Fit how the bundle decides on clips of both classes, and store it; its id stays.

    With too little speech in dev the bundle keeps what it has.

    Raises:
        BundleError: the bundle changed on disk meanwhile.
        ScorerError: the gate or the model failed.
    """
    fitted = fit_tables(hear(bundle, dev))
    return bundle.update(decision=fitted) if fitted else bundle


def hear(bundle: Bundle, corpus: Corpus, tell: Callable[[int], None] = lambda _: None) -> list[Utterance]:
    """All clips in ``CONDITIONS``, as the daemon hears them with its defaults; a thread for each condition.

    Args:
        bundle: whose network scores.
        corpus: whose clips.
        tell: called with the number of clips that were begun, each once in a condition.

    Raises:
        ScorerError: the gate or the model failed.
    """
    begun = dict.fromkeys(CONDITIONS, 0)

    def told(name: str, count: int) -> None:
        begun[name] = count
        tell(sum(begun.values()))

    def heard(name: str) -> list[Utterance]:
        speech = Speech()
        gate = SpeechGate(speech.threshold, speech.min_level_dbfs)
        judge = Judge(scorer_of(bundle, Model()), gate, speech)
        return utterances(judge, corpus, name, partial(told, name))

    with ThreadPoolExecutor(len(CONDITIONS)) as threads:
        return [each for found in threads.map(heard, CONDITIONS) for each in found]


def fit_tables(heard: Sequence[Utterance]) -> DecisionTables | None:
    """Fit all of it.

    Args:
        heard: clips of dev of both classes in ``CONDITIONS``.

    Returns:
        None where there is less than ``LEAST_SPEECH_S`` of a class in a condition, or too little human speech
        for two to take turns.
    """
    if min(_speech_s(heard, label, name) for label in _CLASSES for name in CONDITIONS) < LEAST_SPEECH_S:
        return None
    shrink = shrink_of(heard)
    calls = {profile: Calls.of(heard, profile, ROUNDS, SEED) for profile in PROFILES}
    if not all(each.human and each.synthetic for each in calls.values()):
        return None
    alone = [calls["wideband"], calls["telephone"]]
    alarm_reference = _best(lambda value: _alarmed(alone, shrink, value))
    human_reference = _best(lambda value: _cleared(alone, shrink, value))
    curves = {
        profile: Curves(
            alarm=alarm_points(each, shrink, alarm_reference),
            human=human_points(each, shrink, human_reference),
        )
        for profile, each in calls.items()
    }
    return DecisionTables(
        shrink=shrink,
        alarm_reference=alarm_reference,
        human_reference=human_reference,
        wideband=curves["wideband"],
        telephone=curves["telephone"],
        mixed=curves["mixed"],
    )


_CLASSES = (Label.REAL, Label.FAKE)


def _speech_s(heard: Sequence[Utterance], label: Label, condition: str) -> float:
    mine = (each for each in heard if (each.clip.label, each.condition) == (label, condition))
    return sum(float(each.evidence[1].sum()) for each in mine)


def shrink_of(heard: Sequence[Utterance]) -> float:
    """By what a sum of log-odds has to be multiplied to be one, over about ten seconds of a voice."""
    voices: dict[str, list[Utterance]] = defaultdict(list)
    for each in heard:
        voices[f"{each.condition} {each.maker}"].append(each)
    sums, labels, makers = [], [], []
    for maker, parts in voices.items():
        odds, new_s = Call(tuple(parts), maker).evidence
        pieces = np.bincount(((np.cumsum(new_s) - new_s / 2) // PIECE_S).astype(int), odds * new_s / WINDOW_S)
        sums.append(pieces)
        labels += [parts[0].clip.label == Label.FAKE] * len(pieces)
        makers += [maker] * len(pieces)
    synthetic, shares = np.array(labels), equal_shares(makers)
    shares /= np.where(synthetic, shares[synthetic].sum(), shares[~synthetic].sum())
    signed = np.where(synthetic, 1.0, -1.0) * np.concatenate(sums)
    losses = [np.sum(shares * np.logaddexp(0.0, -shrink * signed)) for shrink in SHRINKS]
    return round(float(SHRINKS[int(np.argmin(losses))]), 2)


def evidence(call: Call, shrink: float, reference: float, sign: float) -> Floats:
    """One sum of the decision, without an upper bound: for synthetic (sign 1) or human (-1), ``[k]``."""
    odds, new_s = call.evidence
    sums = np.cumsum(shrink * new_s / WINDOW_S * (sign * odds - reference))
    return np.asarray(sums - np.minimum(np.minimum.accumulate(sums), 0.0))


def alarm_points(calls: Calls, shrink: float, reference: float) -> Points:
    """Thresholds for ``ALARM_RATES``, from the peaks of evidence for synthetic in human speech."""
    peaks = [_peaks(evidence(call, shrink, reference, 1.0)) for call in calls.human]
    hundreds = sum(float(call.evidence[1].sum()) for call in calls.human) / 360_000
    found = thresholds(np.concatenate(peaks), hundreds, ALARM_RATES, calls.rounds)
    return _no_lower(found, shrink, reference)


def human_points(calls: Calls, shrink: float, reference: float) -> Points:
    """Thresholds for ``MISS_RATES``, from the most evidence for human of each synthetic voice."""
    highest = [evidence(call, shrink, reference, -1.0).max(initial=0.0) for call in calls.synthetic]
    found = thresholds(np.array(highest), float(len(highest)), MISS_RATES, calls.rounds)
    return _no_lower(found, shrink, reference)


def _no_lower(points: Points, shrink: float, reference: float) -> Points:
    """No threshold that a single window could reach."""
    least = shrink * max(0.0, MAX_LOG_ODDS - reference) + LEAST
    return tuple((rate, round(max(limit, least), 3)) for rate, limit in points)


def _peaks(sums: Floats) -> Floats:
    """The highest value of each excursion from 0, ``[excursions]``."""
    starts = np.flatnonzero((sums > 0) & (np.append(0.0, sums[:-1]) == 0))
    return np.maximum.reduceat(sums, starts) if len(starts) else np.zeros(0)


def thresholds(values: Floats, exposure: float, rates: Sequence[float], rounds: int) -> Points:
    """Thresholds that so many of the values exceed: counted, and above the ``TAIL``-th by their mean excess.

    To the excesses one of 1 is added, the mean that theory has for calibrated evidence: where hardly any
    value is left, that is the surer one.

    Args:
        values: ``[n]``, of all rounds.
        exposure: of all rounds.
        rates: values per exposure.
        rounds: readings of the same data.
    """
    falling = np.append(np.sort(values)[::-1], [0.0, 0.0])
    tail = min(TAIL * rounds, max(1, len(values) // 2))
    start = float(falling[tail])
    excess = (float(np.sum(falling[:tail])) - tail * start + rounds) / (tail + rounds)
    found = []
    for rate in rates:
        count = rate * exposure
        counted = float(falling[min(int(count), len(values))])
        found.append((rate, start + excess * math.log(tail / count) if count < tail else counted))
    return tuple(found)


def _best(gain: Callable[[float], float]) -> float:
    """The reference of most gain, and of the lowest such."""
    return float(max(REFERENCES, key=lambda value: gain(float(value))))


def _alarmed(each: Sequence[Calls], shrink: float, reference: float) -> float:
    """Share of synthetic voices with an alarm in time, over profiles and ``CHOOSING_ALARM_RATES``."""
    found = []
    for calls in each:
        points = alarm_points(calls, shrink, reference)
        limits = [threshold(points, rate) for rate in CHOOSING_ALARM_RATES]
        found += _in_time(calls.synthetic, limits, shrink, reference, 1.0)
    return float(np.mean(found))


def _cleared(each: Sequence[Calls], shrink: float, reference: float) -> float:
    """Share of human voices called human in time, over profiles and ``CHOOSING_MISS_RATES``."""
    found = []
    for calls in each:
        points = human_points(calls, shrink, reference)
        limits = [threshold(points, rate) for rate in CHOOSING_MISS_RATES]
        found += _in_time(calls.human, limits, shrink, reference, -1.0)
    return float(np.mean(found))


def _in_time(
    calls: Sequence[Call], limits: Sequence[float], shrink: float, reference: float, sign: float
) -> list[float]:
    """For each limit the share of calls whose evidence reaches it within ``IN_TIME_S`` of speech."""
    highest = [
        evidence(call, shrink, reference, sign)[np.cumsum(call.evidence[1]) <= IN_TIME_S].max(initial=0.0)
        for call in calls
    ]
    return [float(np.mean(np.array(highest) >= limit)) for limit in limits]
