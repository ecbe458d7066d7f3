"""Recordings scored by several processes, with the results in the order of the files."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.recording import score_recording
from fac_stream.config import Config, Model, Speech
from fac_stream.errors import AudioError, ScorerError
from fac_stream.scoring.backend import open_scorer
from fac_stream.scoring.base import Scorer

IN_FLIGHT = 4
"""Files a process; the result of a long file holds back at most so many finished ones."""

LOST = "the process that scored it was killed: out of memory, or a decoder crashed"

Result = dict[str, Any]
Task = Callable[[str], Result]


def in_order(paths: Sequence[str], task: Task, processes: int) -> Iterator[Result]:
    """The results of a task for all files, in their order; one process is this one.

    Raises:
        Exception: whatever the task raises.
    """
    if processes == 1:
        yield from map(task, paths)
        return
    crew = Crew(task, processes)
    try:
        pending: deque[tuple[str, Future[Result]]] = deque()
        for path in paths:
            pending.append((path, crew.submit(path)))
            if len(pending) >= IN_FLIGHT * processes:
                yield crew.result(*pending.popleft())
        while pending:
            yield crew.result(*pending.popleft())
    finally:
        crew.dismiss()


class Crew:
    """Worker processes; a file that kills its worker costs that file, and no other."""

    def __init__(self, task: Task, processes: int) -> None:
        self._task = task
        self._processes = processes
        self._pool = _hire(processes)

    def submit(self, path: str) -> Future[Result]:
        """Hand a file to the next free worker."""
        try:
            return self._pool.submit(self._task, path)
        except BrokenProcessPool:
            self._pool = _hire(self._processes)
            return self._pool.submit(self._task, path)

    def result(self, path: str, future: Future[Result]) -> Result:
        """Wait for a file; one that was lost with a worker is tried again alone, as others died with it."""
        with suppress(BrokenProcessPool):
            return future.result()
        alone = _hire(1)
        try:
            return alone.submit(self._task, path).result()
        except BrokenProcessPool:
            return {"path": path, "error": LOST}
        finally:
            alone.shutdown(wait=False)

    def dismiss(self) -> None:
        """End all workers now, whatever they do."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def _hire(processes: int) -> ProcessPoolExecutor:
    # Spawned, as threads of ONNX Runtime do not survive a fork; Ctrl-C is the parent's business.
    return ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )


def score_file(path: str, config: Config) -> Result:
    """Score one recording with the scorer that this process opened for its first one.

    Raises:
        ScorerError: the model cannot be loaded or failed; no file can be scored.
    """
    scorer, gate = _judges(config.model, config.speech)
    try:
        return {"path": path, **score_recording(Path(path), scorer, gate, config).to_dict()}
    except ScorerError:
        raise
    except AudioError as error:
        return {"path": path, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - one strange file must not end a scan of thousands
        return {"path": path, "error": f"internal error: {type(error).__name__}: {error}"}


@lru_cache(maxsize=1)
def _judges(model: Model, speech: Speech) -> tuple[Scorer, SpeechGate]:
    return open_scorer(model), SpeechGate(speech.threshold, speech.min_level_dbfs)
