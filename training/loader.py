"""Batches made ahead of the training step, in processes of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator

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


def batches(mixture: Mixture, keys: Iterable[tuple[int, int]], workers: int) -> Iterator[Batch]:
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
            num_workers=workers,
            prefetch_factor=AHEAD,
            worker_init_fn=_start,
            multiprocessing_context="spawn",
        )
    )


def _start(_: int) -> None:
    """Ctrl-C is for the trainer, which ends its workers; if it is killed, they end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    """Without this a worker whose trainer was killed would wait for ever for its batches to be taken."""
    trainer = multiprocessing.parent_process()
    if trainer is not None:
        trainer.join()
        os._exit(1)
