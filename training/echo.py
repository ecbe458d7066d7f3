"""Data echoing: a window that was costly to make serves several steps (Choi et al. 2019).

Decoding, channels and front end cost as much as the network's step. So of every ``echo`` steps only the first
gets a new batch; the others get images that were new some time ago, under masks of their own.
"""

from dataclasses import replace

import torch

from training.lesson import Lesson

KEPT = 512
"""Batches of an epoch to draw from; 1.7 GB at 64 windows, log-mel. 128 were learnt by heart."""


class Echoes:
    """The images of one epoch's latest batches.

    Args:
        seed: of what is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._chance = torch.Generator().manual_seed(seed)
        self._kept: list[Lesson] = []
        self._count = 0

    def keep(self, lesson: Lesson) -> None:
        """Remember a batch in place of the oldest."""
        half = replace(lesson, images=lesson.images.half())
        if len(self._kept) < KEPT:
            self._kept.append(half)
        else:
            self._kept[self._count % KEPT] = half
        self._count += 1

    def draw(self) -> Lesson:
        """A batch whose every row is the same row of some batch that is kept.

        A batch has its classes in the same rows as every other, so this one holds as many of each.
        """
        rows = len(self._kept[-1].speech)
        chosen = torch.randint(len(self._kept), (rows,), generator=self._chance).tolist()
        rows_of = [(self._kept[batch], row) for row, batch in enumerate(chosen)]
        return Lesson(
            images=torch.stack([lesson.images[row] for lesson, row in rows_of]).float(),
            synthetic=torch.stack([lesson.synthetic[row] for lesson, row in rows_of]),
            speech=torch.stack([lesson.speech[row] for lesson, row in rows_of]),
            hints=torch.stack([lesson.hints[row] for lesson, row in rows_of]),
        )
