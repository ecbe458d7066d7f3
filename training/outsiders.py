"""Clips of neither class: non-speech, which should never be scored, and human speech through codecs."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from fac_stream.audio.frames import Samples
from training.breakdowns import NOT_STATED, called
from training.intervals import with_intervals
from training.logits import Scored
from training.manifest import Clip, Label
from training.metrics import Floats
from training.rules import Rules

Row = dict[str, Any]


def outsiders(scored: Scored, rules: Rules) -> Row:
    """How many clips would be called synthetic, and how many still are behind a speech gate.

    Args:
        scored: clips of one label, for which the gate was asked.
        rules: of the daemon.

    Returns:
        ``clips``; ``ungated``, and ``gated`` as the daemon does it: by silero-vad and, where the network
        tells speech, by that as well; there also ``silero_gate`` and ``own_gate``, either alone. Each has the
        shares ``even`` and ``alert``; ``groups``, the same for each kind or codec, worst first.
    """
    silero = [row >= rules.min_speech_s for row in scored.speech_s or []]
    passes = {"gated": silero}
    if scored.own_speech is not None:
        own = [row >= rules.speech_llr for row in scored.own_speech]
        both = [either & other for either, other in zip(silero, own, strict=True)]
        passes = {"gated": both, "silero_gate": silero, "own_gate": own}
    gates = {"ungated": scored.llrs}
    gates |= {name: _behind(windows, scored, rules.call_llr) for name, windows in passes.items()}
    alert_llr = rules.alert_llr
    groups: dict[str, list[int]] = defaultdict(list)
    for number, clip in enumerate(scored.clips):
        groups[_group(clip)].append(number)
    rows = [
        {"name": name, "clips": len(numbers)}
        | {gate: called(llrs[numbers], alert_llr) for gate, llrs in gates.items()}
        for name, numbers in groups.items()
    ]
    return {
        "clips": len(scored.clips),
        **{gate: called(llrs, alert_llr) for gate, llrs in gates.items()},
        "groups": sorted(rows, key=lambda row: (-row["ungated"]["even"]["value"], row["name"])),
    }


def _group(clip: Clip) -> str:
    return (clip.generator if clip.label == Label.CODEC else clip.kind) or NOT_STATED


def _behind(passes: list[Any], scored: Scored, call_llr: Callable[[Samples], float]) -> Floats:
    return np.array([call_llr(row[kept]) for row, kept in zip(scored.windows, passes, strict=True)])


def speech_detection(speech: Scored, nonspeech: Scored, rules: Rules, *, seed: int = 0) -> Row:
    """Speech against non-speech on the same windows: the daemon's silero-vad and the network's own output.

    The gate must have been asked about both.

    silero-vad's score of a window is its seconds of speech, the network's its calibrated LLR; what is called
    speech is decided as in the daemon. A row holds ``auc`` and ``eer``, ``kept`` (speech windows
    called speech) and ``let_through`` (non-speech windows called speech), with intervals over clips.

    Returns:
        ``windows`` of both, ``silero`` and ``own``; None for the latter where the network has no such output.
    """
    counts = [len(row) for part in (speech, nonspeech) for row in part.windows]
    labels = np.repeat(np.arange(len(counts)) < len(speech.clips), counts)
    clips = [str(number) for number in np.repeat(np.arange(len(counts)), counts)]
    seconds = np.concatenate([*(speech.speech_s or []), *(nonspeech.speech_s or [])])
    silero = seconds - rules.min_speech_s + 1e-6
    found: Row = {"windows": {"speech": int(labels.sum()), "nonspeech": int((~labels).sum())}}
    found["silero"] = _detection(labels, silero, clips, seed)
    found["own"] = None
    if speech.own_speech is not None and nonspeech.own_speech is not None:
        own = np.concatenate([*speech.own_speech, *nonspeech.own_speech]) - rules.speech_llr + 1e-6
        found["own"] = _detection(labels, own, clips, seed)
    return found


def _detection(labels: Any, scores: Any, clips: list[str], seed: int) -> Row:
    names = ("auc", "eer", "recall", "false_alarms")
    found = with_intervals(labels, scores, clips, names=names, draws=200, seed=seed)
    return {
        "auc": found["auc"],
        "eer": found["eer"],
        "kept": found["recall"],
        "let_through": found["false_alarms"],
    }
