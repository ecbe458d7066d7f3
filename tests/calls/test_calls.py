import asyncio

import numpy as np
import pytest

from fac_stream.alerts.rules import Rules
from fac_stream.audio.frames import Encoding
from fac_stream.bus import Bus
from fac_stream.calls.registry import Calls
from fac_stream.config import Config
from fac_stream.errors import AudioError, ConflictError, ProtocolError, RefusedError, SourceError
from fac_stream.events import CallEnded, DecisionChanged, WindowScored
from fac_stream.scoring.batcher import Batcher
from tests.fakes import FakeGate, FakeScorer, ScriptedSource, scored_at


class House:
    """A registry with everything around it; ``events`` is all that was published."""

    def __init__(self, **settings):
        self.config = Config(**settings)
        self.bus = Bus()
        self.events = []
        self.bus.listen(self.events.append)
        scorer = FakeScorer()
        self.batcher = Batcher(scorer, FakeGate(), self.config.speech, self.config.batching)
        self.calls = Calls(self.config, self.bus, self.batcher, scorer)

    async def run(self, *sources) -> CallEnded:
        """Admit and run calls, one after the other; the end of the last."""
        async with asyncio.TaskGroup() as group:
            batching = group.create_task(self.batcher.run())
            for source in sources:
                ended = await self.calls.run(self.calls.admit(source), source)
            batching.cancel()
        return ended

    def types(self):
        """The types of all events."""
        return [event.type for event in self.events]


def voice(*parts):
    """Samples that the fake scorer gives these (score, seconds)."""
    return np.concatenate([scored_at(score, seconds) for score, seconds in parts])


async def test_a_call_is_told_from_start_to_end():
    """call.started, a window each hop, one decision, call.ended: in this order, with the leg's sums."""
    house = House()

    ended = await house.run(ScriptedSource(voice((0.98, 5.0)), metadata={"queue": "a"}))

    assert house.types() == [
        "call.started",
        "window.scored",
        "decision.changed",
        *["window.scored"] * 6,
        "call.ended",
    ]
    windows = [e for e in house.events if isinstance(e, WindowScored)]
    assert [e.end_s for e in windows] == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert [e.seq for e in house.events] == list(range(1, 11))
    assert {e.model for e in windows} == {"fake@00000000"}
    assert (ended.reason, ended.duration_s) == ("completed", 5.0)
    (leg,) = ended.legs
    assert (leg.decision, leg.windows, leg.scored, leg.speech_s) == ("synthetic", 7, 7, 5.0)


async def test_flags_of_quality_stand_in_windows_and_legs():
    """A window has its own flags; a leg those of most of its windows."""
    house = House()

    ended = await house.run(ScriptedSource(np.concatenate([scored_at(0.2, 3.0), 0.02 * scored_at(0.2, 9.0)])))

    windows = [e for e in house.events if isinstance(e, WindowScored)]
    assert (windows[0].quality, windows[-1].quality) == ([], ["quiet"])
    assert ended.legs[0].quality == ["quiet"]


async def test_legs_are_decided_apart():
    """A synthetic caller does not colour a human agent."""
    stereo = np.stack([voice((0.98, 4.0)), voice((0.02, 4.0))], axis=1)
    house = House()

    ended = await house.run(ScriptedSource(stereo, legs=("caller", "agent")))

    assert {leg.leg: leg.decision for leg in ended.legs} == {"caller": "synthetic", "agent": "human"}


async def test_a_synthetic_voice_is_explained():
    """Decision and suspicion carry the windows since the voice turned, the last scores, flags and model."""
    house = House()

    await house.run(ScriptedSource(np.concatenate([voice((0.02, 20.0)), 0.02 * voice((0.98, 20.0))])))

    changes = [e for e in house.events if isinstance(e, DecisionChanged)]
    assert {e.decision: e.explanation is None for e in changes} == {
        "human": True,
        "suspicious": False,
        "synthetic": False,
    }
    for told in (change.explanation for change in changes[1:]):
        assert 1 <= len(told.windows) <= 10
        assert all(window.start_s >= 18.0 and window.score > 0.5 for window in told.windows)
    assert told.windows[0].quality == ["quiet"]
    assert told.timeline[-1].end_s == changes[-1].at_s
    assert (told.model, told.bundle_version) == ("fake@00000000", "0")


@pytest.mark.parametrize("frame_s", [0.01, 0.0375, 1.7])
@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.PCM_F32LE])
async def test_the_split_into_frames_changes_nothing(frame_s, encoding):
    """Scores and decisions do not depend on how the audio was cut into packets."""
    samples = voice((0.2, 3.0), (0.9, 3.3))
    told = []
    for size in (0.02, frame_s):
        house = House()
        await house.run(ScriptedSource(samples, frame_s=size, encoding=encoding))
        told.append([e.model_dump(exclude={"time", "latency_ms"}) for e in house.events])

    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ProtocolError("bad frame"), "protocol_error", "bad frame"),
        (AudioError("not finite"), "protocol_error", "not finite"),
        (SourceError("unplugged"), "source_lost", "unplugged"),
        (TimeoutError(), "idle", "no audio arrived for ingest.idle_timeout_s"),
        (RuntimeError("secret path"), "failed", "internal error; the daemon's log has the details"),
    ],
)
async def test_an_error_ends_its_call_and_says_why(error, reason, detail):
    """Each kind of error has its reason; what was scored before stays; an internal one leaks no words."""

    async def fail(frame):
        if frame == 150:
            raise error

    house = House()
    ended = await house.run(ScriptedSource(voice((0.5, 5.0)), before=fail))

    assert (ended.reason, ended.detail) == (reason, detail)
    assert house.types().count("window.scored") >= 2
    assert house.calls.detail("call-1").end_reason == reason


async def test_the_tail_of_a_lost_call_is_scored():
    """A caller who hangs up without a goodbye after 1.9 s is still looked at."""

    async def hang_up(frame):
        if frame == 95:
            raise SourceError("lost")

    house = House()
    ended = await house.run(ScriptedSource(voice((0.5, 5.0)), before=hang_up))

    assert ended.reason == "source_lost"
    assert [leg.windows for leg in ended.legs] == [1]


async def test_a_call_that_is_too_long_is_ended():
    """The limit is on the seconds of audio."""
    house = House(ingest={"max_duration_s": 3.0})

    ended = await house.run(ScriptedSource(voice((0.5, 10.0))))

    assert ended.reason == "too_long"
    assert 3.0 < ended.duration_s < 4.0


async def test_a_cancelled_call_is_still_ended():
    """Cancelling (a stop of the daemon) publishes the end, gives the place back and is passed on."""
    house = House()
    reached = asyncio.Event()

    async def hang(frame):
        if frame == 10:
            reached.set()
            await asyncio.Event().wait()

    source = ScriptedSource(voice((0.5, 5.0)), before=hang)
    task = asyncio.create_task(house.calls.run(house.calls.admit(source), source))
    await reached.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.events[-1].reason == "shutdown"
    assert len(house.calls) == 0


async def test_a_gap_is_not_crossed():
    """A window never spans lost audio: after a gap the windows start again."""
    house = House()

    ended = await house.run(ScriptedSource(voice((0.5, 6.0)), drop=range(125, 150)))

    windows = [(e.start_s, e.end_s) for e in house.events if isinstance(e, WindowScored)]
    assert all(end <= 2.5 or start >= 3.0 for start, end in windows)
    assert (0.0, 2.0) in windows
    assert (3.0, 5.0) in windows
    assert ended.lost_s == pytest.approx(0.5)


async def test_admission_is_bounded_and_ids_are_unique():
    """A full house refuses, an id in use conflicts, a place is given back, a closing house takes nobody."""
    house = House(ingest={"max_calls": 2})
    sources = [ScriptedSource(voice((0.5, 1.0)), call_id=name) for name in "abc"]
    call = house.calls.admit(sources[0])

    with pytest.raises(ConflictError):
        house.calls.admit(sources[0])
    house.calls.admit(sources[1])
    with pytest.raises(RefusedError, match="max_calls"):
        house.calls.admit(sources[2])
    house.calls.release(call)
    house.calls.admit(sources[2])
    house.calls.close()
    with pytest.raises(RefusedError, match="stopping"):
        house.calls.admit(sources[0])


async def test_history_is_bounded_and_newest_first():
    """Ended calls are kept up to history.max_calls; the latest call of an id is the one that is shown."""
    house = House(history={"max_calls": 2})

    scores = (("a", 0.1), ("b", 0.2), ("c", 0.3), ("c", 0.9))
    await house.run(*(ScriptedSource(voice((score, 2.0)), call_id=name) for name, score in scores))

    assert [c.call_id for c in house.calls.summaries()] == ["c", "c"]
    assert house.calls.detail("a") is None
    assert house.calls.detail("c").legs[0].last_score == pytest.approx(0.9, abs=0.01)


async def test_the_snapshot_shows_the_calls_going_on():
    """A snapshot has the number of the last event, the thresholds, and each call with its legs."""
    house = House()
    snapshots = []

    async def look(frame):
        if frame == 150:
            snapshots.append(house.calls.snapshot())

    await house.run(ScriptedSource(voice((0.98, 4.0)), before=look))

    (snapshot,) = snapshots
    before = [e for e in house.events if e.seq <= snapshot.seq]
    assert before[-1].seq == snapshot.seq
    assert snapshot.hop_s == 0.5
    assert (snapshot.raise_at, snapshot.clear_at) == pytest.approx((0.622, 0.378), abs=1e-3)
    assert [leg.windows for leg in snapshot.calls[0].legs] == [
        sum(isinstance(e, WindowScored) for e in before)
    ]
    assert house.calls.snapshot().calls == []


async def test_alerts_stay_in_the_history():
    """An alert that is over, as its call may be, can still be looked up."""
    house = House()
    rules = Rules(house.config.alerts.rules)
    house.bus.listen(lambda event: [house.bus.publish(alert) for alert in rules.on(event, 0.0)])

    await house.run(ScriptedSource(voice((0.98, 5.0))))

    detail = house.calls.detail("call-1")
    assert detail.alerts == []
    assert [alert.rule for alert in detail.resolved_alerts] == ["synthetic-voice"]
    assert house.types()[-2:] == ["call.ended", "alert.resolved"]
