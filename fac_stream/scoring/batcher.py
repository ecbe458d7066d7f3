"""All calls' windows, scored together in one thread.

::

    call ──score(live)──────► live queue ─────┐  late ones are skipped
                    full: refused at once     ├──► batch ──► thread: speech gate, scorer ──► verdicts
    upload ──score(not live)─► waiting queue ─┘
                    full: the caller waits

Live windows go first. A batch forms when windows are queued and the thread is free; it is filled up until its
oldest window has waited ``max_wait_ms``. While nothing is queued there is no timer and nothing runs.

Whoever asks for live windows is answered before they are older than ``max_age_s``, whatever the thread is at.
A batch that takes longer than ``BATCH_TIMEOUT_S`` hangs: nothing can be done but to start the process again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from fac_stream.audio.frames import Window
from fac_stream.audio.speech import SpeechGate
from fac_stream.config import Batching, Speech
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import RefusedError, ScorerError
from fac_stream.events import SkipReason
from fac_stream.scoring.base import Scorer, WindowVerdict
from fac_stream.scoring.judge import Judge

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_FAILURES = 5
"""Batches that may fail in a row; then the scorer is taken for broken."""
MAX_WAITING = 8
"""Windows that are not live in one batch: a live window that comes meanwhile waits for no more than these."""
BATCH_TIMEOUT_S = 30.0
"""The largest batch of a slow machine takes a few."""
STOPPED = "scoring has stopped: the daemon is shutting down"


@dataclass(frozen=True, slots=True)
class BatchStats:
    """What one batch was and took."""

    size: int
    """Windows looked at."""
    scored: int
    """Windows that had speech and got a score."""
    gate_s: float
    score_s: float
    failed: bool = False


@dataclass(slots=True, eq=False)
class _Request:
    """One call of ``score``."""

    answer: asyncio.Future[None]
    """Done when the caller need not wait any longer, or does not."""
    verdicts: list[WindowVerdict | None]
    missing: int

    def give(self, position: int, verdict: WindowVerdict) -> None:
        self.verdicts[position] = verdict
        self.missing -= 1
        if not self.missing:
            self.wake()

    def wake(self) -> None:
        if not self.answer.done():
            self.answer.set_result(None)


@dataclass(slots=True, eq=False)
class _Item:
    """One window of a request."""

    request: _Request
    position: int
    window: Window
    queued_at: float
    """``time.monotonic()``."""

    @property
    def is_forgotten(self) -> bool:
        return self.request.answer.done()

    def give(self, verdict: WindowVerdict) -> None:
        self.request.give(self.position, verdict)

    def skip(self, reason: SkipReason) -> None:
        self.give(_skipped(reason))


def _skipped(reason: SkipReason) -> WindowVerdict:
    return WindowVerdict(None, reason, 0.0, None)


class Batcher:
    """Scores windows for everyone. ``run`` does the work and must be running for ``score`` to return."""

    def __init__(
        self,
        scorer: Scorer,
        gate: SpeechGate,
        speech: Speech,
        batching: Batching,
        on_batch: Callable[[BatchStats], None] | None = None,
    ) -> None:
        self.calibration = scorer.calibration
        self.tables = scorer.tables
        self._judge = Judge(scorer, gate, speech)
        self._batching = batching
        self._on_batch = on_batch
        self._live: deque[_Item] = deque()
        self._waiting: deque[_Item] = deque()
        self._batch: list[_Item] = []  # what the thread is at
        self._queued = asyncio.Event()
        self._room = asyncio.Semaphore(batching.max_queue)  # in ``_waiting``
        self._thread: DaemonThread | None = None
        self._stopped = False

    async def score(self, windows: Sequence[Window], *, live: bool) -> list[WindowVerdict]:
        """One verdict a window, in their order.

        Live windows for which there is no room are answered with ``overload``, those that get too old before
        they are scored with ``late``; others wait, however long. Cancelling is safe: what is queued is
        forgotten.

        Raises:
            RefusedError: the batcher has stopped.
        """
        answer = asyncio.get_running_loop().create_future()
        request = _Request(answer, [None] * len(windows), len(windows))
        missing: WindowVerdict | None = None
        try:
            async with asyncio.timeout(self._patience_s(windows) if live else None):
                for position, window in enumerate(windows):
                    await self._enqueue(_Item(request, position, window, time.monotonic()), live=live)
                if request.missing:
                    await answer
        except TimeoutError:
            missing = _skipped(SkipReason.LATE)
        finally:
            answer.cancel()
        verdicts = [verdict or missing for verdict in request.verdicts]
        if None in verdicts:
            raise RefusedError(STOPPED)
        return [verdict for verdict in verdicts if verdict is not None]

    async def run(self) -> None:
        """Score until cancelled.

        Raises:
            ScorerError: several batches failed in a row, or one does not end.
        """
        executor = self._thread = DaemonThread("scoring")
        failures = 0
        try:
            while failures < MAX_FAILURES:
                self._batch = await self._next_batch()
                stats = await self._score_batch(executor)
                self._batch = []
                failures = failures + 1 if stats.failed else 0
                if self._on_batch:
                    self._on_batch(stats)
            raise ScorerError(f"{failures} batches in a row could not be scored: giving up")
        finally:
            self._stop()
            executor.shutdown()

    async def between_batches(self, work: Callable[[], T]) -> T:
        """Run what takes no longer than a batch in the scoring thread; it raises what ``work`` raises.

        Raises:
            RefusedError: nothing is scored now.
        """
        if self._thread is None or self._stopped:
            raise RefusedError(STOPPED)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _patience_s(self, windows: Sequence[Window]) -> float:
        """How long the newest of the windows may still wait."""
        newest = max((window.received_at for window in windows), default=time.monotonic())
        return newest + self._batching.max_age_s - time.monotonic()

    async def _enqueue(self, item: _Item, *, live: bool) -> None:
        if not live:
            await self._room.acquire()
        if self._stopped:
            if not live:
                self._room.release()  # the next one who waits for room must hear it, too
            raise RefusedError(STOPPED)
        if not live:
            self._waiting.append(item)
        elif len(self._live) < self._batching.max_queue:
            self._live.append(item)
        else:
            item.skip(SkipReason.OVERLOAD)
            return
        self._queued.set()

    async def _next_batch(self) -> list[_Item]:
        """Wait until there is something to score; take as much as fits."""
        batch: list[_Item] = []
        while not batch:
            await self._fill()
            while self._live and len(batch) < self._batching.max_windows:
                batch += self._pop_live()
            full = min(len(batch) + MAX_WAITING, self._batching.max_windows)
            while self._waiting and len(batch) < full:
                batch += self._pop_waiting()
        return batch

    async def _fill(self) -> None:
        """Wait for the first item, then for a full batch, but no longer than the oldest item may."""
        while not self._depth:
            self._queued.clear()
            await self._queued.wait()
        oldest = min(queue[0].queued_at for queue in (self._live, self._waiting) if queue)
        patience_s = oldest + self._batching.max_wait_ms / 1000 - time.monotonic()
        if patience_s <= 0:
            return
        try:
            async with asyncio.timeout(patience_s):
                while self._depth < self._batching.max_windows:
                    self._queued.clear()
                    await self._queued.wait()
        except TimeoutError:
            return

    @property
    def _depth(self) -> int:
        return len(self._live) + len(self._waiting)

    def _pop_live(self) -> list[_Item]:
        """The next one; none if nobody waits for it, or if it is late (others of its request may not be)."""
        item = self._live.popleft()
        if item.is_forgotten:
            return []
        if time.monotonic() - item.window.received_at > self._batching.max_age_s:
            item.skip(SkipReason.LATE)
            return []
        return [item]

    def _pop_waiting(self) -> list[_Item]:
        """The next one; none if nobody waits for it."""
        item = self._waiting.popleft()
        self._room.release()
        return [] if item.is_forgotten else [item]

    async def _score_batch(self, executor: Executor) -> BatchStats:
        """Score the batch in the thread and hand out the verdicts."""
        size = len(self._batch)
        windows = [item.window for item in self._batch]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(BATCH_TIMEOUT_S):
                judgement = await loop.run_in_executor(executor, self._judge.judge, windows)
        except TimeoutError:
            raise ScorerError(
                f"a batch of {size} windows hangs for {BATCH_TIMEOUT_S:g} s: giving up"
            ) from None
        except ScorerError:
            log.exception("a batch could not be scored", windows=size)
            for item in self._batch:
                item.skip(SkipReason.FAILED)
            return BatchStats(size, 0, 0.0, 0.0, failed=True)
        for item, verdict in zip(self._batch, judgement.verdicts, strict=True):
            item.give(verdict)
        return BatchStats(size, judgement.scored, judgement.gate_s, judgement.score_s)

    def _stop(self) -> None:
        """Nobody will be answered any more: wake all who wait, they find verdicts missing."""
        self._stopped = True
        for item in (*self._batch, *self._live, *self._waiting):
            item.request.wake()
        for _ in self._waiting:
            self._room.release()
        self._live.clear()
        self._waiting.clear()
