import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.bus import Bus
from fac_stream.config_storage import Evidence
from fac_stream.events import CallDeleted, CallEnded, Decision, EndReason
from fac_stream.evidence import keeper as module
from fac_stream.evidence.clerk import Clerk
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.keeper import Keeper
from fac_stream.evidence.record import Excerpt
from fac_stream.evidence.sealed import unseal
from fac_stream.scoring.base import WindowVerdict
from fac_stream.storage.audit import AuditLog, entries
from tests.evidence.exhibits import BACKEND, KEY, SETTINGS, alert, changed, cut, noise, scored, sealed


class Room:
    """A keeper with its bus and folder."""

    def __init__(self, path, settings=SETTINGS):
        self.bus = Bus()
        self.folder = Folder(path / "evidence")
        self.log = path / "audit.jsonl"
        self.clerk = Clerk(settings, self.folder, AuditLog(self.log), BACKEND, "1.0")
        self.keeper = Keeper(self.bus, settings, self.clerk)

    def hear(self, windows, call_id="call-1"):
        """Windows are scored, as a call does it."""
        for window in windows:
            if self.keeper.tap:
                self.keeper.tap(call_id, window, WindowVerdict(0.75, None, 2.0, -20.0, (), 3))
            self.bus.publish(scored(window, call_id=call_id))

    def excerpt(self, alert_id="alert_1"):
        """What was kept of an alert."""
        header, content = unseal(self.folder.read(alert_id), KEY)
        return header, Excerpt.decode(content)

    @asynccontextmanager
    async def open(self):
        """While the keeper runs; on leaving, all that it was to do is done."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.keeper.run())
            yield self
            async with asyncio.timeout(30):
                await self.keeper.drain()
            task.cancel()
        self.keeper.close()


@pytest.fixture
def room(tmp_path):
    """A keeper that is on."""
    return Room(tmp_path)


def ended(call_id="call-1"):
    """The end of a call."""
    return CallEnded(call_id=call_id, reason=EndReason.COMPLETED, duration_s=30.0, legs=[])


async def test_the_seconds_around_an_alert_are_kept(room):
    """Before it and the 2 s after it: the very samples, with what was said of each window."""
    samples = noise(30)
    windows = cut(samples)
    async with room.open():
        room.hear([it for it in windows if it.end_s <= 15])
        room.bus.publish(changed(15.0))
        room.bus.publish(alert(15.0))
        room.hear([it for it in windows if it.end_s > 15])

    header, excerpt = room.excerpt()
    record = excerpt.record
    assert (header.purpose, header.call_id, header.bundle) == ("a test", "call-1", record.bundle)
    assert header.keep_until - header.written_at == timedelta(days=14)
    assert [(it.start_sample, it.samples) for it in record.pieces] == [(9 * SAMPLE_RATE, 8 * SAMPLE_RATE)]
    assert excerpt.audio[0].tobytes() == samples[9 * SAMPLE_RATE : 17 * SAMPLE_RATE].tobytes()
    assert {window.run for window in record.windows} == {3}
    originals = {window.index: window.samples for window in windows}
    assert len(record.windows) == 13
    for window in record.windows:
        assert excerpt.window(window).tobytes() == originals[window.index].tobytes()
    assert excerpt.timeline().tobytes() == excerpt.audio[0].tobytes()


@pytest.mark.parametrize("after_s", [0.0, 0.5, 2.0])
async def test_an_alert_that_comes_late_finds_its_audio(room, after_s):
    """A recording is read faster than the disk takes an alert: what the decision rested on is kept anyway."""
    windows = cut(noise(40))
    async with room.open():
        room.hear([it for it in windows if it.end_s <= 10])
        room.bus.publish(changed(10.0))
        room.hear([it for it in windows if it.end_s > 10])
        room.bus.publish(ended())
        room.bus.publish(alert(10.0 + after_s))

    _, excerpt = room.excerpt()
    assert excerpt.record.pieces[0].start_sample >= (4 + after_s) * SAMPLE_RATE
    assert 10.0 + after_s in {window.end_s for window in excerpt.record.windows}


async def test_a_call_that_ends_after_its_alert_leaves_what_there_was(room):
    """Nobody waits for 2 s that never come."""
    async with room.open():
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0))
        room.bus.publish(alert(5.0))
        room.bus.publish(ended())

    assert len(room.excerpt()[1].audio[0]) == 5 * SAMPLE_RATE


async def test_audio_that_stops_without_an_end_is_not_waited_for(room, monkeypatch):
    """Where neither audio nor an end comes any more, what there is is written after a while."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(module, "TICK_S", 0.01)
    async with room.open():
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0))
        room.bus.publish(alert(5.0))
        async with asyncio.timeout(30):
            while not room.folder.entries():  # noqa: ASYNC110 - a file sends no event
                await asyncio.sleep(0.01)


async def test_without_a_purpose_nothing_is_heard(tmp_path):
    """Off means off: no tap, no folder, no loss, nothing in memory."""
    room = Room(tmp_path, Evidence())
    async with room.open():
        assert room.keeper.tap is None
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0))
        room.bus.publish(alert(5.0))

    assert (room.keeper.lost, room.keeper.problems, list(tmp_path.iterdir())) == (0, [], [])


async def test_what_was_kept_goes_in_time_even_when_it_is_off(tmp_path):
    """Switching evidence off does not prolong what there is: a daemon's start removes what is too old."""
    room = Room(tmp_path, Evidence())
    now = datetime.now(UTC)
    room.folder.write("alert_1", sealed(written_at=now - timedelta(days=15)))
    room.folder.write("alert_2", sealed(alert_id="alert_2", written_at=now))
    async with room.open():
        pass

    assert [entry.alert_id for entry in room.folder.entries()] == ["alert_2"]
    assert [(it.kind, it.facts) for it in entries(room.log)] == [
        ("evidence.removed", {"alert": "alert_1", "why": "age"})
    ]


async def test_calls_that_are_deleted_leave_nothing(room):
    """Neither what is on disk, nor what still waits for its alert or its 2 s."""
    room.folder.write("alert_0", sealed(alert_id="alert_0"))
    async with room.open():
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0))
        room.bus.publish(alert(5.0))
        room.bus.publish(CallDeleted(call_id="call-1"))
        room.bus.publish(ended())

    assert room.folder.entries() == []


async def test_an_alert_of_a_voice_that_was_not_heard_is_counted(room):
    """Where there is no audio of a leg nothing is made up; alerts about no call are none of its business."""
    async with room.open():
        room.bus.publish(alert(5.0))
        room.bus.publish(alert(5.0, call_id=None, leg=None))

    assert room.keeper.lost == 1
    assert room.folder.entries() == []


async def test_decisions_for_human_keep_nothing(room):
    """Audio is held beyond the ring only where an alert may come."""
    async with room.open():
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0, Decision.HUMAN))
        assert not room.keeper._takes


async def test_what_was_said_of_another_window_is_not_mixed_in(room):
    """A window whose event never came, because its call failed, is not kept under the next one's name."""
    first, second, third = cut(noise(3))[:3]
    verdict = WindowVerdict(0.75, None, 2.0, -20.0, (), 3)
    async with room.open():
        room.keeper.tap("call-1", first, verdict)
        room.bus.publish(scored(second, call_id="call-1"))
        room.keeper.tap("call-1", first, verdict)
        room.bus.publish(scored(first, call_id="call-2"))
        assert room.keeper._rings == {}
        room.hear([third])
        assert len(room.keeper._rings) == 1


async def test_memory_is_bounded(room, monkeypatch):
    """However many legs and decisions there are at a time, so many are held and no more."""
    monkeypatch.setattr(module, "MAX_LEGS", 5)
    monkeypatch.setattr(module, "MAX_TAKES", 3)
    async with room.open():
        for number in range(12):
            room.hear(cut(noise(3)), call_id=f"call-{number}")
            room.bus.publish(changed(3.0, call_id=f"call-{number}"))
        assert (len(room.keeper._rings), len(room.keeper._takes)) == (5, 3)
        for number in range(12):
            room.bus.publish(ended(f"call-{number}"))
        assert room.keeper._rings == {}


async def test_a_disk_that_hangs_holds_up_nobody(room, monkeypatch):
    """Further alerts are counted as lost while it hangs; the daemon is told, and goes on when it answers."""
    monkeypatch.setattr(module, "WRITE_S", 0.05)
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    hanging, wake = threading.Event(), threading.Event()
    write = room.folder.write

    def hang(alert_id, content):
        hanging.set()
        assert wake.wait(30)
        write(alert_id, content)

    monkeypatch.setattr(room.folder, "write", hang)
    async with room.open():
        room.hear(cut(noise(5)))
        room.bus.publish(changed(5.0))
        for number in range(3):
            room.bus.publish(alert(5.0, f"alert_{number}"))
        room.bus.publish(ended())
        async with asyncio.timeout(30):
            while room.keeper.lost < 3:  # noqa: ASYNC110 - counted by another task
                await asyncio.sleep(0.01)
        assert "evidence: the disk does not answer" in room.keeper.problems
        wake.set()
        async with asyncio.timeout(30):
            while room.keeper.problems:  # noqa: ASYNC110 - changed by another task
                await asyncio.sleep(0.01)

    assert [entry.alert_id for entry in room.folder.entries()] == ["alert_0"]


async def test_a_flood_of_alerts_is_bounded(room, monkeypatch):
    """What waits for the disk has a bound; what goes beyond it is lost and told."""
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    room.hear(cut(noise(5)))
    room.bus.publish(changed(5.0))
    for number in range(10):
        room.bus.publish(alert(5.0, f"alert_{number}"))
    room.bus.publish(ended())
    assert (room.keeper.lost, room.keeper.problems) == (6, ["evidence: more alerts came than the disk takes"])
    async with room.open():
        pass
    assert len(room.folder.entries()) == 4


async def test_the_size_is_never_exceeded(tmp_path):
    """The oldest makes room before the next is written."""
    settings = SETTINGS.model_copy(update={"max_mb": 1})
    room = Room(tmp_path, settings)
    async with room.open():
        for number in range(4):
            call_id = f"call-{number}"
            room.hear(cut(noise(8)), call_id=call_id)
            room.bus.publish(changed(6.0, call_id=call_id))
            room.bus.publish(alert(6.0, f"alert_{number}", call_id=call_id))
            room.bus.publish(ended(call_id))

    kept = room.folder.entries()
    assert [entry.alert_id for entry in kept] == ["alert_3"]
    assert sum(entry.size for entry in kept) <= 1_000_000


async def test_nothing_of_the_audio_is_on_disk_in_the_clear(room):
    """No piece of the samples stands in any file."""
    samples = noise(8)
    async with room.open():
        room.hear(cut(samples))
        room.bus.publish(changed(6.0))
        room.bus.publish(alert(6.0))

    (path,) = room.folder.path.iterdir()
    content = path.read_bytes()
    pieces = np.frombuffer(samples.tobytes(), "V16")
    assert not any(bytes(piece) in content for piece in pieces[::50])
