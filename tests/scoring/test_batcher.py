import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest

from fac_stream.config import Batching, Speech
from fac_stream.errors import RefusedError, ScorerError
from fac_stream.events import SkipReason
from fac_stream.scoring.batcher import MAX_FAILURES, MAX_WAITING, Batcher
from tests.fakes import BlockedScorer, FailingScorer, FakeGate, FakeScorer, scored_at, window_of

SCORES = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
DEADLINE_S = 30.0
"""Far beyond what anything here takes; only a hang meets it."""


def window(score=0.5, **settings):
    """A window that the fake scorer gives ``score``."""
    return window_of(scored_at(score), **settings)


def batcher_for(scorer, *, speech=None, on_batch=None, **batching):
    """A batcher that fills no batch up unless told so: tests then need not wait."""
    settings = Batching(**{"max_wait_ms": 0.0, "max_age_s": 60.0, **batching})
    return Batcher(scorer, FakeGate(), speech or Speech(), settings, on_batch)


@asynccontextmanager
async def running(batcher):
    """``batcher.run()`` beside the test, ended with it."""
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        task = group.create_task(batcher.run())
        yield task
        task.cancel()


async def until(condition):
    """Let others run until ``condition()`` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)


async def test_every_window_gets_its_own_verdict():
    """Verdicts come back in the order of the windows, whoever else asks, however batches are cut."""
    batcher = batcher_for(FakeScorer(), max_windows=3)
    async with running(batcher), asyncio.TaskGroup() as group:
        asked = [(order, live) for order in (SCORES, SCORES[::-1], [0.5]) for live in (True, False)]
        tasks = [
            group.create_task(batcher.score([window(s) for s in order], live=live)) for order, live in asked
        ]
    for (order, _), task in zip(asked, tasks, strict=True):
        assert [verdict.score for verdict in task.result()] == pytest.approx(order, abs=1e-3)
        assert all(verdict.skipped is None and verdict.speech_s == 2.0 for verdict in task.result())


async def test_nothing_asked_nothing_scored():
    """No windows: no verdicts, at once, without a running batcher."""
    assert await batcher_for(FakeScorer()).score([], live=True) == []


async def test_windows_of_several_callers_share_a_batch():
    """What was queued while the thread was busy goes through together."""
    scorer, seen = BlockedScorer(), []
    batcher = batcher_for(scorer, on_batch=seen.append)
    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(batcher.score([window()], live=True))
        await until(scorer.entered.is_set)
        for _ in range(5):
            group.create_task(batcher.score([window(), window()], live=True))
        await until(lambda: batcher._depth == 10)
        scorer.release.set()
    assert scorer.batches == [1, 10]
    assert [(stats.size, stats.scored, stats.failed) for stats in seen] == [(1, 1, False), (10, 10, False)]
    assert all(stats.gate_s > 0 and stats.score_s > 0 for stats in seen)


async def test_a_batch_is_bounded():
    """More windows than ``max_windows`` become several batches."""
    scorer = FakeScorer()
    batcher = batcher_for(scorer, max_windows=4)
    async with running(batcher):
        await batcher.score([window()] * 10, live=True)
    assert scorer.batches == [4, 4, 2]


async def test_a_batch_waits_to_be_filled():
    """With ``max_wait_ms`` the second window is waited for, and a full batch goes at once."""
    scorer = FakeScorer()
    batcher = batcher_for(scorer, max_windows=2)
    for_ever = {"max_wait_ms": 1000 * 2 * DEADLINE_S}
    batcher._batching = batcher._batching.model_copy(update=for_ever)
    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(batcher.score([window()], live=True))
        await until(lambda: batcher._depth == 1)
        group.create_task(batcher.score([window()], live=True))
    assert scorer.batches == [2]


async def test_a_batch_does_not_wait_for_ever():
    """A window that stays alone is scored after ``max_wait_ms``."""
    scorer = FakeScorer()
    batcher = batcher_for(scorer, max_windows=64, max_wait_ms=5)
    async with running(batcher):
        started = time.monotonic()
        await batcher.score([window()], live=True)
        assert time.monotonic() - started >= 0.005
    assert scorer.batches == [1]


async def test_live_windows_overtake():
    """A live window is scored before files that have queued for longer."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_windows=2)
    order = []

    async def ask(name, *, live):
        await batcher.score([window()], live=live)
        order.append(name)

    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(ask("first", live=False))
        await until(scorer.entered.is_set)
        for i in range(4):
            group.create_task(ask(f"file {i}", live=False))
        await until(lambda: batcher._depth == 4)
        group.create_task(ask("live", live=True))
        await until(lambda: batcher._depth == 5)
        scorer.release.set()
    assert order == ["first", "live", "file 0", "file 1", "file 2", "file 3"]


async def test_files_take_small_bites():
    """A long file never makes a batch so large that live windows wait long behind it."""
    scorer = FakeScorer()
    batcher = batcher_for(scorer)
    async with running(batcher):
        await batcher.score([window()] * (2 * MAX_WAITING + 1), live=False)
        await batcher.score([window()] * (2 * MAX_WAITING + 1), live=True)
    assert scorer.batches == [MAX_WAITING, MAX_WAITING, 1, 2 * MAX_WAITING + 1]


async def test_live_windows_are_refused_when_the_queue_is_full():
    """Overload is answered at once, for the windows that found no room and no others."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_queue=3, max_windows=1)
    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(batcher.score([window()], live=True))
        await until(scorer.entered.is_set)
        partly = group.create_task(batcher.score([window()] * 5, live=True))
        await until(lambda: batcher._depth == 3)
        (refused,) = await batcher.score([window()], live=True)
        assert (refused.score, refused.skipped) == (None, SkipReason.OVERLOAD)
        scorer.release.set()
    reasons = [verdict.skipped for verdict in partly.result()]
    assert reasons == [None, None, None, SkipReason.OVERLOAD, SkipReason.OVERLOAD]


async def test_files_wait_for_room():
    """A caller that is not live fills the queue, waits, and gets a score for every window."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_queue=3, max_windows=2)
    async with running(batcher), asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.score([window(0.25)] * 10, live=False)) for _ in range(3)]
        await until(scorer.entered.is_set)
        await until(lambda: batcher._depth == 3)
        scorer.release.set()
    for task in tasks:
        assert [verdict.score for verdict in task.result()] == pytest.approx([0.25] * 10, abs=1e-3)
    assert max(scorer.batches) <= 2


async def test_late_windows_are_skipped():
    """A live window that is too old at its turn is late; one that is not live never is."""
    scorer = FakeScorer()
    batcher = batcher_for(scorer, max_age_s=60.0)
    old = time.monotonic() - 61.0
    async with running(batcher):
        late, fresh = await batcher.score([window(received_at=old), window()], live=True)
        (file,) = await batcher.score([window(received_at=old)], live=False)
    assert (late.score, late.skipped, late.level_dbfs) == (None, SkipReason.LATE, None)
    assert fresh.skipped is None
    assert file.skipped is None
    assert sum(scorer.batches) == 2


async def test_a_stuck_batch_makes_live_windows_late_in_time():
    """Whatever the thread is at, a live caller is answered when its window is too old; others wait."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_age_s=0.2, max_windows=1)
    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(batcher.score([window()], live=False))
        await until(scorer.entered.is_set)
        file = group.create_task(batcher.score([window(0.75)], live=False))
        started = time.monotonic()
        queued = await batcher.score([window(), window()], live=True)
        assert time.monotonic() - started >= 0.2
        assert not file.done()
        scorer.release.set()
    assert [(v.score, v.skipped) for v in queued] == [(None, SkipReason.LATE)] * 2
    assert file.result()[0].score == pytest.approx(0.75, abs=1e-3)
    assert sum(scorer.batches) == 2, "late windows are not scored any more"


async def test_a_live_window_in_a_stuck_batch_is_late_too():
    """Its score comes too late to count."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_age_s=0.2)
    async with running(batcher):
        (verdict,) = await batcher.score([window()], live=True)
        scorer.release.set()
        assert verdict.skipped is SkipReason.LATE
        batcher._batching = Batching(max_wait_ms=0.0, max_age_s=60.0)
        (after,) = await batcher.score([window()], live=True)
    assert after.skipped is None


async def test_a_batch_that_hangs_ends_the_run(monkeypatch):
    """Nobody can stop a thread: the vital task dies, and who waits is told."""
    monkeypatch.setattr("fac_stream.scoring.batcher.BATCH_TIMEOUT_S", 0.1)
    scorer = BlockedScorer()
    batcher = batcher_for(scorer)
    with pytest.RaisesGroup(
        pytest.RaisesExc(ScorerError, match="hangs for 0.1 s"), RefusedError, flatten_subgroups=True
    ):
        async with running(batcher), asyncio.TaskGroup() as group:
            group.create_task(batcher.score([window()], live=True))
    scorer.release.set()


async def test_cancelled_callers_are_forgotten():
    """Windows of a caller that went away are not scored, and free the room they took."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_queue=4, max_windows=8)
    async with running(batcher), asyncio.TaskGroup() as group:
        group.create_task(batcher.score([window()], live=False))
        await until(scorer.entered.is_set)
        gone = [group.create_task(batcher.score([window()] * 6, live=live)) for live in (True, False)]
        await until(lambda: batcher._depth == 8)
        for task in gone:
            task.cancel()
        kept = group.create_task(batcher.score([window(0.75)] * 6, live=False))
        scorer.release.set()
    assert all(task.cancelled() for task in gone)
    assert len(kept.result()) == 6
    assert sum(scorer.batches) == 7


async def test_windows_without_speech_are_not_scored():
    """Too little speech, or none though ``min_s`` asks for none: no score, and the scorer is not asked."""
    silence = np.zeros(100, np.float32)
    for min_s, scored in ((0.0, 1), (2.0, 1), (1.0, 1)):
        scorer = FakeScorer()
        batcher = batcher_for(scorer, speech=Speech(min_s=min_s))
        async with running(batcher):
            silent, loud = await batcher.score([window_of(silence), window(0.5)], live=True)
        assert (silent.score, silent.skipped, silent.level_dbfs) == (None, SkipReason.NO_SPEECH, None)
        assert loud.score == pytest.approx(0.5, abs=1e-3)
        assert scorer.batches == [scored]


async def test_a_failed_batch_is_no_score():
    """A failure is told as such, with nothing that could be taken for a measurement."""
    seen = []
    scorer = FailingScorer()
    batcher = batcher_for(scorer, on_batch=seen.append)
    async with running(batcher):
        verdicts = await batcher.score([window(), window()], live=True)
        scorer.broken = False
        (after,) = await batcher.score([window()], live=True)
    assert [(v.score, v.skipped, v.speech_s, v.level_dbfs) for v in verdicts] == [
        (None, SkipReason.FAILED, 0.0, None)
    ] * 2
    assert after.skipped is None
    assert [stats.failed for stats in seen] == [True, False]


async def test_a_broken_scorer_ends_the_run():
    """Several failures in a row are vital; one success in between starts the count anew."""
    scorer = FailingScorer()
    batcher = batcher_for(scorer)
    with pytest.RaisesGroup(ScorerError, match=None):
        async with running(batcher):
            for attempt in range(2 * MAX_FAILURES - 1):
                scorer.broken = attempt != MAX_FAILURES - 1
                await batcher.score([window()], live=True)
            assert not batcher._stopped
            await batcher.score([window()], live=True)
            await until(lambda: batcher._stopped)


async def test_an_unexpected_error_ends_the_run():
    """A bug in a scorer is not taken for a bad batch."""

    def bug(windows):
        raise TypeError("a bug")

    batcher = batcher_for(FakeScorer(bug))
    with pytest.RaisesGroup(TypeError, RefusedError, flatten_subgroups=True):
        async with running(batcher), asyncio.TaskGroup() as group:
            group.create_task(batcher.score([window()], live=True))


async def test_stopping_tells_everyone_who_waits():
    """Callers in the batch, in the queues and before them are refused, and so are those who come later."""
    scorer = BlockedScorer()
    batcher = batcher_for(scorer, max_queue=2, max_windows=1)
    async with running(batcher) as run:
        asks = [
            asyncio.ensure_future(batcher.score([window()] * 4, live=live)) for live in (True, False, False)
        ]
        await until(scorer.entered.is_set)
        await until(lambda: batcher._depth >= 3)
        run.cancel()
        results = await asyncio.gather(*asks, return_exceptions=True)
        scorer.release.set()
    assert [type(result) for result in results] == [RefusedError] * 3
    for live in (True, False):
        with pytest.raises(RefusedError, match="scoring has stopped"):
            await batcher.score([window()], live=live)


async def test_idle_means_idle():
    """With nothing queued there is no timer and nothing to do."""
    batcher = batcher_for(FakeScorer(), max_wait_ms=10)
    async with running(batcher):
        await batcher.score([window()], live=True)
        for _ in range(3):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        test_deadline = 1
        assert len([handle for handle in loop._scheduled if not handle.cancelled()]) <= test_deadline
