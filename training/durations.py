"""Score against duration: how much more is known after ten seconds of a voice than after two."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fac_stream.audio.frames import Samples
from training.intervals import with_intervals
from training.logits import Scored
from training.manifest import Label
from training.metrics import Floats

LENGTHS = (1, 2, 3, 5)
"""Windows of a call."""
WINDOW_S = 2
DRAWS = 500


def by_duration(
    scored: Scored, best: Sequence[int], call_llr: Callable[[Samples], float], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Figures of calls of 2, 4, 6 and 10 s.

    Clips of a corpus are shorter than that, so a call is made of several clips of one voice: one window of
    each, that with the most speech. A synthetic voice is a generator on a page; humans of one source stand
    sorted by speaker, so that neighbours share the speaker where speakers have several clips. The same
    windows are heard at every length: those of voices with enough for the longest call. Such calls change
    the sentence every two seconds, and human ones may change the speaker of one corpus.

    Args:
        scored: every window's LLR.
        best: which window of a clip, ``[clips]``.
        call_llr: LLRs of a call's windows to the call's.
        seed: of the bootstrap, which draws whole voices.

    Returns:
        A row a length: ``seconds``, ``calls`` of each class, ``eer`` and ``auc`` with intervals; none where a
        class lacks voices of ten seconds.
    """
    voices = _voices(scored, best)
    if len({label for label, _ in voices}) < 2:
        return []
    return [_row(voices, length, call_llr, seed) for length in LENGTHS]


def _voices(scored: Scored, best: Sequence[int]) -> dict[tuple[Label, str], Floats]:
    """LLRs of each voice, a multiple of the longest call."""
    found: dict[tuple[Label, str], list[tuple[str, float]]] = defaultdict(list)
    for clip, maker, row, number in zip(scored.clips, scored.makers, scored.windows, best, strict=True):
        found[clip.label, maker].append((clip.speaker, float(row[number])))
    voices = {}
    for voice, rows in found.items():
        kept = len(rows) // LENGTHS[-1] * LENGTHS[-1]
        if kept:
            voices[voice] = np.array([llr for _, llr in sorted(rows, key=lambda row: row[0])[:kept]])
    return voices


def _row(
    voices: dict[tuple[Label, str], Floats], length: int, call_llr: Callable[[Samples], float], seed: int
) -> dict[str, Any]:
    labels, llrs, groups = [], [], []
    for (label, name), windows in voices.items():
        for start in range(0, len(windows) - length + 1, length):
            labels.append(label == Label.FAKE)
            llrs.append(call_llr(windows[start : start + length].astype(np.float32)))
            groups.append(name)
    found = with_intervals(
        np.array(labels), np.array(llrs), groups, names=("eer", "auc"), draws=DRAWS, seed=seed
    )
    calls = {"real": labels.count(False), "fake": labels.count(True)}
    return {"seconds": length * WINDOW_S, "calls": calls} | found
