"""Data echoing: a window that was costly to make serves several steps (Choi et al. 2019).

Decoding, channels and front end cost as much as the network's step. So of every ``echo`` steps only the first
gets a new batch; the others get images that were new some time ago, under masks of their own.
"""

import torch
from torch import Tensor

KEPT = 512
"""Batches of an epoch to draw from; 1.7 GB at 64 windows, log-mel. 128 were learnt by heart."""


class Echoes:
    """The images of one epoch's latest batches.

    Args:
        seed: of what is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._chance = torch.Generator().manual_seed(seed)
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def keep(self, images: Tensor, synthetic: Tensor, speech: Tensor) -> None:
        """Remember a batch in place of the oldest: ``[B, 1, bands, frames]``, ``[B]`` and ``[B]``."""
        batch = (images.half(), synthetic, speech)
        if len(self._kept) < KEPT:
            self._kept.append(batch)
        else:
            self._kept[self._count % KEPT] = batch
        self._count += 1

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """A batch whose every row is the same row of some batch that is kept.

        A batch has its classes in the same rows as every other, so this one holds as many of each.
        """
        rows = len(self._kept[-1][0])
        chosen = torch.randint(len(self._kept), (rows,), generator=self._chance).tolist()
        images, synthetic, speech = (
            torch.stack([self._kept[batch][part][row] for row, batch in enumerate(chosen)])
            for part in range(3)
        )
        return images.float(), synthetic, speech
