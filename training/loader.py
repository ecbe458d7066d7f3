"""Batches made ahead of the training step, in processes of their own."""

import signal
from collections.abc import Iterator

from torch.utils.data import DataLoader, Dataset

from training.mixture import Batch, Mixture

AHEAD = 3
"""Batches that each worker keeps ready."""


class Batches(Dataset[Batch]):
    """``batches[epoch, number]``, for torch's loader."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self.mixture.batch(*key)


def batches(mixture: Mixture, keys: list[tuple[int, int]], workers: int) -> Iterator[Batch]:
    """The batches of these (epoch, number), in this order.

    Workers are started afresh, not forked: a fork inherits locks of threads that it does not have.
    """
    if not workers:
        return (mixture.batch(*key) for key in keys)
    return iter(
        DataLoader(
            Batches(mixture),
            sampler=keys,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=AHEAD,
            worker_init_fn=_start,
            multiprocessing_context="spawn",
        )
    )


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start(_: int) -> None:
    """Ctrl-C is for the trainer, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
