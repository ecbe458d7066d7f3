"""Recordings scored by several processes, with the results in the order of the files."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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

Result = dict[str, Any]


def score_files(paths: Sequence[str], config: Config, processes: int) -> Iterator[Result]:
    """One result a file; ``{"path", "error"}`` where it cannot be scored.

    Raises:
        ScorerError: the model cannot be loaded or failed; no file can be scored.
    """
    if processes == 1:
        yield from (score_file(path, config) for path in paths)
        return
    crew = Crew(config, processes)
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

    def __init__(self, config: Config, processes: int) -> None:
        self._config = config
        self._processes = processes
        self._pool = self._hire(processes)

    def submit(self, path: str) -> Future[Result]:
        """Hand a file to the next free worker."""
        try:
            return self._pool.submit(score_file, path, self._config)
        except BrokenProcessPool:
            self._pool = self._hire(self._processes)
            return self._pool.submit(score_file, path, self._config)

    def result(self, path: str, future: Future[Result]) -> Result:
        """Wait for a file; one that was lost with a worker is tried again alone, as others died with it."""
        try:
            return future.result()
        except BrokenProcessPool:
            pass
        with self._hire(1) as alone:
            try:
                return alone.submit(score_file, path, self._config).result()
            except BrokenProcessPool:
                return {
                    "path": path,
                    "error": "the process that scored it was killed: no memory, or a broken decoder",
                }

    def dismiss(self) -> None:
        """End all workers now, whatever they do."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()

    def _hire(self, processes: int) -> ProcessPoolExecutor:
        # Spawned, as threads of ONNX Runtime do not survive a fork; Ctrl-C is the parent's business.
        return ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )


def score_file(path: str, config: Config) -> Result:
    """Score one file in this process, with the scorer that the first file opened."""
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
