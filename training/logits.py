"""What a network says about every window of every clip, under a stated channel condition."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from fac_model.bundle import ONNX, Bundle
from fac_model.calibration import Calibration
from fac_model.detector import Detector
from fac_model.quality import is_telephone
from fac_stream.audio.frames import Samples
from fac_stream.audio.speech import SpeechGate
from training.channel import CONDITIONS
from training.dataset import Corpus, windows
from training.export import graph_logits
from training.manifest import Clip, Label
from training.metrics import Floats, Labels
from training.pcm import Pcm, active_frames

BATCH = 64

Score = Callable[[Samples], Samples]
"""Float32 ``[B, samples]`` to numbers ``[B, ...]``."""


@dataclass(frozen=True)
class Scored:
    """Clips and what a bundle said about them in one condition; a list holds a row a clip, ``[windows]``."""

    clips: list[Clip]
    windows: list[Samples]
    """Log-likelihood ratios, synthetic over human."""
    llrs: Floats
    """A clip's, ``[clips]``, as the daemon would score a call of these windows."""
    speech_s: list[Samples] | None = None
    """Seconds of speech that the daemon's gate found, where it was asked."""
    own_speech: list[Samples] | None = None
    """Log-likelihood ratios, speech over none, of the network's second output where it has one."""

    @property
    def labels(self) -> Labels:
        """True for synthetic, ``[clips]``."""
        return np.array([clip.label == Label.FAKE for clip in self.clips])

    @property
    def makers(self) -> list[str]:
        """Whose clip it is: source and, for a synthetic one, generator; a bootstrap draws these whole."""
        return [f"{clip.source} {clip.generator}".strip() for clip in self.clips]


def scorer_of(bundle: Bundle) -> Score:
    """What is shipped: the bundle's ONNX graph on CPU, or torch where there is a GPU or no graph.

    Float32 ``[B, 32000]`` to logits ``[B, outputs]``: synthetic, and speech where the network has it.
    """
    if ONNX not in bundle.manifest.files or torch.cuda.is_available():
        return Detector.load(bundle, "cuda" if torch.cuda.is_available() else "cpu").logits
    return graph_logits(bundle.read(ONNX), torch.get_num_threads())


def judge_of(bundle: Bundle, gate: SpeechGate | None) -> Score:
    """The bundle with its calibration, and the daemon's speech gate where one is given.

    Float32 ``[B, 32000]`` to ``[B, 3]``: LLR of synthetic; seconds of speech after the gate, NaN without;
    LLR of speech after the network, NaN where it does not tell.
    """
    score, calibration = scorer_of(bundle), bundle.manifest.calibration

    def judge(waves: Samples) -> Samples:
        logits, unknown = score(waves), np.full(len(waves), np.nan, np.float32)
        columns = (
            calibration.llr(logits[:, 0], is_telephone(waves)),
            gate.speech_s(waves) if gate else unknown,
            calibration.speech.llr(logits[:, 1]) if calibration.speech else unknown,
        )
        return np.column_stack(columns).astype(np.float32)

    return judge


def scored(clips: list[Clip], judged: Sequence[Samples], calibration: Calibration) -> Scored:
    """What ``judge_of`` gave for the windows of each clip, ``[windows, 3]`` each."""
    llrs, speech_s, own_speech = ([rows[:, column] for rows in judged] for column in range(3))
    return Scored(
        clips,
        llrs,
        np.array([calibration.call_llr(row) for row in llrs]),
        None if np.isnan(np.concatenate(speech_s)).any() else speech_s,
        None if np.isnan(np.concatenate(own_speech)).any() else own_speech,
    )


def clip_logits(
    score: Score,
    corpus: Corpus,
    condition: str,
    windows_per_clip: int,
    *,
    cut: Callable[[Pcm, int], Samples] = windows,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Samples]:
    """What a scorer says of the windows of each clip: a float32 ``[1..windows_per_clip, ...]`` a clip.

    Args:
        score: float32 ``[B, 32000]`` to numbers ``[B]`` or ``[B, outputs]``.
        corpus: whose clips.
        condition: the channel between the clip and the network, a key of ``training.channel.CONDITIONS``.
        windows_per_clip: the most that a clip gives, evenly spaced.
        cut: a clip and that limit to windows ``[n, samples]``.
        tell: called with the number of clips that were begun, batch by batch.
    """
    found: list[list[Samples]] = [[] for _ in corpus.clips]
    each = _windows(corpus, windows_per_clip, cut)
    while batch := list(islice(each, BATCH)):
        rows = score(CONDITIONS[condition](np.stack([window for _, window in batch])))
        for (number, _), row in zip(batch, rows, strict=True):
            found[number].append(row)
        tell(batch[-1][0] + 1)
    return [np.asarray(rows, np.float32) for rows in found]


def _windows(corpus: Corpus, limit: int, cut: Callable[[Pcm, int], Samples]) -> Iterator[tuple[int, Samples]]:
    for number in range(len(corpus.clips)):
        for window in cut(corpus.pcm[number], limit):
            yield number, window


def most_speech(corpus: Corpus, windows_per_clip: int) -> list[int]:
    """Which of a clip's windows holds the most speech, by its energy before any channel: ``[clips]``."""
    return [
        int(
            np.argmax(
                [active_frames(window).sum() for window in windows(corpus.pcm[number], windows_per_clip)]
            )
        )
        for number in range(len(corpus.clips))
    ]
