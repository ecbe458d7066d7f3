"""What a network says about every window of every clip, under a stated channel condition."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import numpy as np

from fac_stream.audio.frames import Samples
from training.augment import telephone
from training.dataset import Corpus, windows

Condition = Literal["wideband", "g711"]
BATCH = 64


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
        logits = score(telephone(waves) if condition == "g711" else waves)
        for (number, _), logit in zip(batch, logits, strict=True):
            found[number].append(float(logit))
    return [np.asarray(logits, np.float32) for logits in found]


def _windows(corpus: Corpus, limit: int) -> Iterator[tuple[int, Samples]]:
    for number in range(len(corpus.clips)):
        for window in windows(corpus.pcm[number], limit):
            yield number, window
