import asyncio

import pytest

from fac_stream.bus import Bus
from fac_stream.calls import local
from fac_stream.calls.local import LocalSource
from fac_stream.calls.registry import Calls
from fac_stream.config import Config
from fac_stream.errors import SourceError
from fac_stream.scoring.batcher import Batcher
from tests.fakes import FakeGate, FakeScorer, ScriptedSource, scored_at


@pytest.fixture
def house(monkeypatch):
    """Run a local source whose ``make`` is scripted; gives the source and why its calls ended."""
    monkeypatch.setattr(local, "FIRST_PAUSE_S", 0.001)

    async def run(make, *, endless=False, until=None, **settings):
        config, bus, reasons = Config(**settings), Bus(), []
        batcher = Batcher(FakeScorer(), FakeGate(), config.speech, config.batching)
        calls = Calls(config, bus, batcher, FakeScorer())
        source = LocalSource("file x", make, calls, endless=endless)
        enough = asyncio.Event()

        def note(event):
            if event.type == "call.ended":
                reasons.append(event.reason)
                if until is not None and len(reasons) >= until:
                    enough.set()

        bus.listen(note)
        async with asyncio.TaskGroup() as group:
            batching = group.create_task(batcher.run())
            running = group.create_task(source.run())
            waiting = group.create_task(enough.wait())
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in (running, waiting, batching):
                task.cancel()
        return source, reasons

    return run


def attempts(*answers):
    """A ``make`` that raises or returns these, one a time, the last for ever."""
    left = list(answers)

    def make():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return make


@pytest.mark.parametrize(
    "error", [SourceError("unplugged"), TimeoutError(), PermissionError("pactl"), ValueError("noise")]
)
async def test_what_cannot_be_opened_is_tried_again(house, error):
    """Whatever a device does when it is opened, the source is tried again until it works."""
    source, reasons = await house(attempts(error, error, ScriptedSource(scored_at(0.5))))

    assert reasons == ["completed"]
    assert source.problem is None


async def test_a_lost_source_is_opened_again(house):
    """A call that ends because its device was lost is followed by the next."""

    async def lose(frame):
        if frame == 20:
            raise SourceError("unplugged")

    lost, whole = ScriptedSource(scored_at(0.5), before=lose), ScriptedSource(scored_at(0.5))

    _, reasons = await house(attempts(lost, whole))

    assert reasons == ["source_lost", "completed"]


async def test_the_problem_is_told_while_it_lasts(house):
    """Health says why a source is not running; a broken recording is not tried again."""

    async def fail(frame):
        raise SourceError("no such disk")

    source, _ = await house(attempts(ScriptedSource(scored_at(0.5), before=fail)), until=2)

    assert source.problem == "no such disk"


async def test_an_endless_source_begins_a_new_call_when_one_is_too_long(house):
    """A microphone is listened to for ever, in calls of at most ingest.max_duration_s."""
    make = attempts(ScriptedSource(scored_at(0.5, 5.0)))

    _, reasons = await house(make, endless=True, until=3, ingest={"max_duration_s": 1.0})

    assert reasons[:3] == ["too_long"] * 3


async def test_a_recording_that_is_too_long_is_not_begun_again(house):
    """What is not endless ends, and says why."""
    make = attempts(ScriptedSource(scored_at(0.5, 5.0)))

    source, reasons = await house(make, ingest={"max_duration_s": 1.0})

    assert reasons == ["too_long"]
    assert "max_duration_s" in source.problem
