"""What a network says about every window of every clip, under a stated channel condition."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fac_model.bundle import ONNX, Bundle
from fac_model.detector import Detector
from fac_stream.audio.frames import Samples
from training.channel import resampled, telephone
from training.dataset import Corpus, windows
from training.export import graph_logits
from training.manifest import Clip, Label

Condition = Literal["wideband", "resampled", "g711"]
"""At 16 kHz as it is; from 48 kHz, as sound cards, browsers and most files are; over a telephone line."""

CONDITIONS: tuple[Condition, ...] = ("wideband", "resampled", "g711")
BATCH = 64

_CHANNELS: dict[Condition, Callable[[Samples], Samples]] = {"resampled": resampled, "g711": telephone}


@dataclass(frozen=True)
class Scored:
    """Clips and what the bundle said about them in one condition."""

    clips: list[Clip]
    windows: list[Samples]
    """Log-likelihood ratios of each clip's windows."""

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """True for synthetic, ``[clips]``."""
        return np.array([clip.label == Label.FAKE for clip in self.clips])

    @property
    def llrs(self) -> Samples:
        """A clip's mean, ``[clips]``."""
        return np.array([row.mean() for row in self.windows])


def scorer_of(bundle: Bundle) -> Callable[[Samples], Samples]:
    """What is shipped: the bundle's ONNX graph on CPU, or torch where there is a GPU or no graph.

    Float32 ``[B, 32000]`` to logits ``[B]``.
    """
    if ONNX not in bundle.manifest.files or torch.cuda.is_available():
        return Detector.load(bundle, "cuda" if torch.cuda.is_available() else "cpu").logits
    return graph_logits(bundle.read(ONNX), torch.get_num_threads())


def clip_logits(
    score: Callable[[Samples], Samples], corpus: Corpus, condition: Condition, windows_per_clip: int
) -> list[Samples]:
    """Logits of the windows of each clip, one float32 ``[1..windows_per_clip]`` a clip.

    Args:
        score: float32 ``[B, 32000]`` to logits ``[B]``.
        corpus: whose clips.
        condition: the channel between the clip and the network.
        windows_per_clip: the most that a clip gives, evenly spaced.
    """
    found: list[list[float]] = [[] for _ in corpus.clips]
    each = _windows(corpus, windows_per_clip)
    while batch := list(islice(each, BATCH)):
        waves = np.stack([window for _, window in batch])
        logits = score(_CHANNELS[condition](waves) if condition in _CHANNELS else waves)
        for (number, _), logit in zip(batch, logits, strict=True):
            found[number].append(float(logit))
    return [np.asarray(logits, np.float32) for logits in found]


def _windows(corpus: Corpus, limit: int) -> Iterator[tuple[int, Samples]]:
    for number in range(len(corpus.clips)):
        for window in windows(corpus.pcm[number], limit):
            yield number, window
