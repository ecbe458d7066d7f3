"""This process's part of a training: alone, or one of several that torchrun started."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import Row


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this is, and where it computes."""

    rank: int
    count: int
    device: torch.device

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes through before the others: it fills caches that they then read."""
        if self.rank:
            distributed.barrier()
        yield
        if self.count > 1 and not self.rank:
            distributed.barrier()

    def parallel(self, network: nn.Module) -> nn.Module:
        """The same weights, with gradients averaged over the processes."""
        if self.count == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def agreed(self, row: Row) -> Row:
        """What the first process says, for all."""
        if self.count == 1:
            return row
        said = [row]
        distributed.broadcast_object_list(said)
        return said[0]

    def mean(self, values: list[float]) -> list[float]:
        """Over the processes."""
        if self.count == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(value) for value in total / self.count]


@contextmanager
def joined(workers: int) -> Iterator[Place]:
    """Take this process's place, with its share of the cores, and in torch's deterministic mode.

    Args:
        workers: processes beside this one that make batches. Two get a core: measured on CPU, a batch costs
            a sixth to two fifths of its training step. ``OMP_NUM_THREADS`` overrules the number of threads;
            set it to 1 where two trainings share two cores.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    _keep_memory()
    threads, was_steady = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, threads // beside - workers // 2))
    # On a GPU a few operations have no deterministic form: they warn and go on.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch's stubs lack it
    if count > 1:
        # The first process may decode a whole corpus before the others go on.
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=12)
        )
    try:
        yield Place(rank, count, device)
    finally:
        if count > 1:
            distributed.destroy_process_group()
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=was_steady)


def _keep_memory() -> None:
    """Have glibc keep what is freed, for the rest of the process.

    The buffers of a step are of the size that it fetches from the kernel and returns each time, page by page:
    measured on two cores, 410 ms a step instead of 232.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in _KEEP.items():
            libc.mallopt(option, value)


_KEEP = {-4: 0, -1: 2**31 - 1, -2: 2**28}
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of mallopt(3), bytes."""
