"""Anyone's detector on the same clips: ``fac evaluate … --peer module:function``.

A peer is a function of float32 ``[B, samples]`` at 16 kHz, full scale at ±1, that gives a score a row,
``[B]``, higher for synthetic; or an object that can be called so; or a class, of which one such object is
made without arguments. It may have

``threshold``
    above which its maker calls a score synthetic; 0 unless given.
``window_s``
    seconds of audio it wants; 2 unless given. With 2 s a peer hears the very windows that the bundle hears;
    else pieces of its own length, evenly spread over the clip, where a shorter clip is repeated.
``name``
    for the tables; the name after the colon unless given.

A clip's score is the mean of its windows'. See ``docs/peers.md`` for adapters to ONNX and TorchScript files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import ConfigError, FacError
from training.breakdowns import called, false_alarms, human_sources
from training.dataset import Corpus, windows
from training.intervals import DRAWS, with_intervals
from training.logits import Scored, clip_logits
from training.pcm import WINDOW, Pcm, to_float
from training.plugin import imported

LONGEST_S = 60.0
NAMES = ("eer", "auc", "cllr", "min_cllr", "min_dcf", "false_alarms", "misses")


@dataclass(frozen=True)
class Peer:
    """A detector that is not ours."""

    name: str
    score: Callable[[Samples], Any]
    threshold: float
    window_s: float

    @classmethod
    def load(cls, place: str) -> "Peer":
        """Import ``module:attribute``; the current folder is searched, too.

        Raises:
            ConfigError: there is no such thing, or it is no detector.
        """
        found = imported(place, "--peer")
        score = found() if isinstance(found, type) else found
        threshold, window_s = (float(getattr(score, key, default)) for key, default in _DEFAULTS.items())
        if not callable(score) or not np.isfinite(threshold) or not 0.1 <= window_s <= LONGEST_S:
            raise ConfigError(
                f"--peer {place}: a peer can be called, its threshold is a number and its window_s lies"
                f" between 0.1 and {LONGEST_S:g}"
            )
        return cls(str(getattr(score, "name", place.partition(":")[2])), score, threshold, window_s)

    def __call__(self, waves: Samples) -> Samples:
        """Scores less the peer's threshold, float32 ``[B]``: above 0 is called synthetic.

        Raises:
            FacError: they are not one finite number a row.
        """
        scores = np.asarray(self.score(waves), np.float32)
        if scores.shape != (len(waves),) or not np.isfinite(scores).all():
            raise FacError(
                f"peer {self.name}: {waves.shape} gave {scores.shape}; it must give one finite score a row"
            )
        return scores - np.float32(self.threshold)

    def cut(self, pcm: Pcm, limit: int) -> Samples:
        """What it hears of a clip, float32 ``[1..limit, samples]``."""
        length = round(self.window_s * SAMPLE_RATE)
        return windows(pcm, limit) if length == WINDOW else pieces(pcm, limit, length)


_DEFAULTS = {"threshold": 0.0, "window_s": WINDOW / SAMPLE_RATE}


def pieces(pcm: Pcm, limit: int, length: int) -> Samples:
    """As many windows of ``length`` samples as cover a clip, evenly spread, at most ``limit``."""
    if len(pcm) <= length:
        return to_float(np.resize(pcm, length))[None]
    count = min(limit, -(-len(pcm) // length))
    starts = np.linspace(0, len(pcm) - length, count).round().astype(int)
    return to_float(np.stack([pcm[start : start + length] for start in starts]))


def hear(
    peer: Peer, corpus: Corpus, condition: str, windows_per_clip: int, tell: Callable[[int], None]
) -> Scored:
    """A peer's scores of a corpus in one condition, in the place of the bundle's LLRs."""
    rows = clip_logits(peer, corpus, condition, windows_per_clip, cut=peer.cut, tell=tell)
    return Scored(corpus.clips, rows, np.array([float(row.mean()) for row in rows]))


def compare(scored: Scored, nonspeech: Scored | None, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """A row beside the others: whole clips, decided above the detector's own threshold.

    ``cllr`` takes the scores, less the threshold, for log-likelihood ratios, whether or not the maker meant
    them so; ``min_cllr`` does not care.

    Returns:
        Figures with intervals over generators and human sources; the worst human source and the mean of all;
        the share of non-speech called synthetic without a speech gate, None where there is none.
    """
    found = with_intervals(scored.labels, scored.llrs, scored.makers, names=NAMES, draws=draws, seed=seed)
    sources = false_alarms(human_sources(scored, 0.0), seed=seed)["even"]
    silence = called(nonspeech.llrs, 0.0)["even"] if nonspeech else None
    return {**found, "sources": sources, "nonspeech": silence}
