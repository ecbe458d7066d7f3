import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from fac_stream.errors import ConflictError, StorageError
from fac_stream.events import AlertMarked, AlertResolved
from fac_stream.history import recorder as recorder_module
from fac_stream.storage import database as database_module
from tests.fakes import a_decision
from tests.history.keeping import ended, living, raised, started, window


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where the history goes; locks are not waited for."""
    monkeypatch.setattr(database_module, "BUSY_S", 0.0)
    return tmp_path / "history.db"


async def test_a_call_is_told_whole(path):
    """Start, legs, decisions, timeline, alerts, verdict and end come back as they were published."""
    async with living(path) as house:
        house.bus.publish(started(metadata={"platform": "twilio", "from": "+49 30 1234", "secret": "x"}))
        for index in range(30):
            house.bus.publish(window(index, index / 30, decision="human" if index < 20 else "synthetic"))
        house.bus.publish(a_decision(call_id="c"))
        house.bus.publish(raised())
        house.bus.publish(AlertMarked(call_id="c", leg="caller", alert_id="a", mark="false_alarm", by="Ada"))
        house.bus.publish(AlertMarked(call_id="c", leg="caller", alert_id="a", mark="acknowledged", by="Bo"))
        house.bus.publish(ended(decision="human"))
        house.bus.publish(
            AlertResolved(call_id="c", leg="caller", alert_id="a", rule="r", reason="call_ended", at_s=9.0)
        )
        [call] = await house.details()

    assert (call["call_id"], call["source"], call["model"], call["end_reason"]) == (
        "c",
        "websocket",
        "m@1",
        "completed",
    )
    assert (call["duration_s"], call["lost_s"], call["decision"]) == (12.5, 0.5, "synthetic")
    assert call["started_at"] <= call["ended_at"]
    assert call["metadata"] == {"platform": "twilio"}
    [number] = call["numbers"]
    assert (number["role"], number["number"]) == ("caller", house.hashes.number("0049301234"))
    [leg] = call["legs"]
    assert (leg["speech_s"], leg["quality"], leg["worst_decision"]) == (3.5, ["quiet"], "human")
    [decision] = call["decisions"]
    assert (decision["previous"], decision["decision"], decision["at_s"]) == ("unknown", "synthetic", 2.0)
    [alert] = call["alerts"]
    assert (alert["verdict"], alert["resolution"], alert["rule"]) == (
        "false_alarm",
        "call_ended",
        "synthetic-voice",
    )
    points = call["timeline"]["caller"]
    assert [(it["start_s"], it["end_s"], it["windows"]) for it in points] == [
        (0, 5, 6),
        (5, 10, 10),
        (10, 15, 10),
        (15, 20, 4),
    ]
    assert points[1]["peak"] == pytest.approx(15 / 30)
    assert points[1]["mean"] == pytest.approx(sum(range(6, 16)) / 10 / 30)
    assert points[-1]["decision"] == "synthetic"


async def test_a_call_that_died_with_its_daemon_ended_by_crash(path):
    """The next life ends it where it was last heard of, and its alerts; what was told is not changed."""
    async with living(path) as first:
        first.call("whole")
        first.call("torn", end=False, windows=[window(index) for index in range(40)])
        first.bus.publish(raised(call_id="torn"))
        await first.recorder.drain()
        assert [it["end_reason"] for it in await first.find()] == [None, "completed"]

    async with living(path) as second:
        second.call("new", end=False)
        new, torn, whole = await second.find()

    assert [new["end_reason"], torn["end_reason"], whole["end_reason"]] == [None, "crash", "completed"]
    assert torn["duration_s"] == 20
    assert torn["legs"][0]["windows"] == 36
    assert (torn["alerts"][0]["resolution"], torn["alerts"][0]["resolved_at"]) == (
        "call_ended",
        torn["ended_at"],
    )


async def test_calls_of_one_id_stay_apart(path):
    """An id that comes back makes a second call; the newest comes first."""
    async with living(path) as house:
        house.call(decision="human")
        house.bus.publish(raised("late"))  # published once it is on disk: after its call
        house.call(decision="synthetic")
        second, first = await house.details()

    assert [first["decision"], second["decision"]] == ["human", "synthetic"]
    assert ([it["alert_id"] for it in first["alerts"]], second["alerts"]) == (["late"], [])
    assert first["id"] < second["id"]


async def test_a_health_alert_belongs_to_no_call(path):
    """It is kept all the same; an alert of a call that nobody knows is not."""
    async with living(path) as house:
        house.bus.publish(raised("health", call_id=None, leg=None, category="health", rule="disk-full"))
        house.bus.publish(raised("lost", call_id="unknown"))
        await house.recorder.write()
        found = await house.recorder.ask(
            lambda c: c.execute("SELECT alert_id, call, category FROM alert").fetchall()
        )

    assert found == [("health", None, "health")]


async def test_what_is_written_twice_stands_there_once(path, monkeypatch):
    """A disk that answers too late has written all the same: the same entries again change nothing."""
    async with living(path) as house:
        house.call(windows=[window(index) for index in range(30)])
        house.bus.publish(raised())
        house.bus.publish(a_decision(call_id="c"))
        await house.recorder.ask(lambda connection: None)
        batch = list(house.recorder._backlog)
        await house.recorder.drain()
        before = await house.details()
        house.recorder._backlog.extend(batch)
        await house.recorder.drain()

        assert await house.details() == before


@pytest.mark.parametrize("fault", ["locked", "damaged", "full"])
async def test_a_faulty_disk_holds_up_nobody(path, tmp_path, fault):
    """Events are taken all the same, the problem says what to do; with the fault gone all is written."""
    if fault == "damaged":
        path.write_bytes(b"no database" * 1000)
    async with living(path) as house:
        if fault != "damaged":
            await house.recorder.write()
        other = sqlite3.connect(path if fault == "locked" else ":memory:", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        if fault == "full":
            await house.database.run(lambda c: c.execute("PRAGMA max_page_count = 1") and None)
        for number in range(50):
            house.call(f"{number}-{'x' * 100}", windows=[window(index) for index in range(20)])
        await house.recorder.write()
        words = {"locked": "another program", "damaged": "move it away", "full": "the disk is full"}
        assert words[fault] in house.recorder.problem
        assert house.recorder.waiting > 50

        other.close()
        if fault == "damaged":
            path.rename(tmp_path / "damaged.db")
        if fault == "full":
            await house.database.run(lambda c: c.execute("PRAGMA max_page_count = 100000") and None)
        await house.recorder.drain()
        assert (house.recorder.problem, house.recorder.waiting, house.recorder.lost) == (None, 0, 0)
        assert {it["end_reason"] for it in await house.find()} == {"completed"}
        assert len(await house.find()) == 50


async def test_a_key_that_cannot_be_made_keeps_numbers_unwritten(path, tmp_path):
    """Without it nothing is written, least of all a number as it is; with it, all."""
    (tmp_path / "history.key").write_text("no key")
    async with living(path) as house:
        house.call(metadata={"from": "+4930123456"})
        await house.recorder.write()
        assert "it is no key" in house.recorder.problem
        (tmp_path / "history.key").unlink()

        assert len(await house.find(number="4930123456")) == 1
    assert b"4930123456" not in b"".join(it.read_bytes() for it in tmp_path.iterdir())


async def test_the_backlog_is_bounded_and_what_is_lost_is_counted(path, monkeypatch):
    """Pieces of timelines are lost first; starts and ends only where even those are too many."""
    monkeypatch.setattr(recorder_module, "MAX_BACKLOG", 10)
    path.write_bytes(b"no database" * 1000)
    async with living(path) as house:
        house.call(windows=[window(index) for index in range(200)])
        assert (house.recorder.waiting, house.recorder.lost) == (6, 17)  # start, four of 21 steps, end
        for number in range(20):
            house.call(str(number))
        assert house.recorder.waiting == 10
        await house.recorder.write()
        assert house.recorder.waiting == 10


async def test_a_disk_that_hangs_is_not_waited_for_without_end(path, monkeypatch):
    """After its patience the problem is told, and then got over."""
    monkeypatch.setattr(recorder_module, "PATIENCE_S", 0.01)
    async with living(path) as house:
        release = threading.Event()
        house.database._thread.submit(release.wait, 30)
        house.call()
        await house.recorder.write()
        assert "does not answer" in house.recorder.problem
        monkeypatch.setattr(recorder_module, "PATIENCE_S", 20.0)
        release.set()
        await house.recorder.drain()
        assert house.recorder.problem is None
        assert len(await house.find()) == 1


async def test_it_writes_by_itself(path, monkeypatch):
    """The task writes what comes, without being asked."""
    monkeypatch.setattr(recorder_module, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr(recorder_module, "LOOK_EVERY_S", 0.01)
    async with living(path) as house, asyncio.TaskGroup() as group:
        task = group.create_task(house.recorder.run())
        house.call()
        await house.until(lambda: house.database.opened and not house.recorder.waiting)
        task.cancel()

    async with living(path) as house:
        assert len(await house.find()) == 1


def bytes_of(folder):
    """All that the files of the history hold."""
    return b"".join(it.read_bytes() for it in folder.glob("history.db*"))


@pytest.mark.parametrize("position", [0, 7, 199])
async def test_deletion_leaves_no_trace_in_the_file(path, tmp_path, position):
    """Neither the id nor the numbers nor the alerts are in any byte, wherever the call stood; others stay."""
    async with living(path, numbers="plain") as house:
        for number in range(200):
            call_id = f"call-{number:03}-of-somebody"
            metadata = {"from": f"+49301234{number:03}", "queue": f"queue-{number:03}-name"}
            house.bus.publish(started(call_id, metadata))
            for index in range(0, 120, 5):
                house.bus.publish(window(index, leg=f"leg-{number:03}-x", call_id=call_id))
            house.bus.publish(raised(f"alert-{number:03}-x", call_id))
            house.bus.publish(ended(call_id, leg=f"leg-{number:03}-x"))
            if number % 20 == 0:
                await house.recorder.write()
        await house.recorder.drain()
        traces = [
            text.format(position).encode()
            for text in ("call-{:03}-", "301234{:03}", "queue-{:03}-", "alert-{:03}-", "leg-{:03}-")
        ]
        assert all(trace in bytes_of(tmp_path) for trace in traces)
        digest = house.hashes.number(f"+49301234{position:03}").encode()

        assert await house.recorder.delete(f"call-{position:03}-of-somebody", "Ada") == 1
        assert house.deleted == [f"call-{position:03}-of-somebody"]
        await house.recorder.write()
        await house.recorder.write()

        assert [trace for trace in [*traces, digest] if trace in bytes_of(tmp_path)] == []
        assert len(await house.find()) == 199
        assert house.deleted == [f"call-{position:03}-of-somebody"]


async def test_a_call_that_goes_on_is_not_deleted(path):
    """It would go on being written: who asks is told."""
    async with living(path) as house:
        house.call(end=False)
        with pytest.raises(ConflictError, match="going on"):
            await house.recorder.delete("c", "Ada")
        assert len(await house.find()) == 1
        assert house.deleted == []


async def test_an_unknown_call_is_deleted_everywhere_else(path):
    """The history may have forgotten what others still keep."""
    async with living(path) as house:
        assert await house.recorder.delete("unknown", "Ada") == 0
        assert house.deleted == ["unknown"]


async def test_a_deletion_that_nobody_heard_of_is_told_by_the_next_life(path):
    """Asked for while no daemon ran, it is told when one starts, once."""
    async with living(path) as first:
        first.call()
        await first.recorder.drain()
        file = sqlite3.connect(path)
        recorder_module.entries.delete("c", "Ada", file)
        file.commit()
        file.close()

    for expected in (["c"], []):
        async with living(path) as later:
            await later.recorder.write()
            await later.recorder.write()
            assert later.deleted == expected


async def test_a_disk_that_refuses_a_deletion_says_so(path):
    """Nothing is deleted, and nobody is told that it was."""
    async with living(path) as house:
        house.call()
        await house.recorder.drain()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program"):
            await house.recorder.delete("c", "Ada")
        other.close()
        assert len(await house.find()) == 1
        assert house.deleted == []


async def test_a_call_that_is_not_written_yet_is_not_said_to_be_deleted(path, tmp_path):
    """What waits for the disk would bring it back: who asks is told, and can ask again."""
    (tmp_path / "history.key").write_text("no key")
    async with living(path) as house:
        house.call(metadata={"from": "+4930123456"})
        with pytest.raises(StorageError, match="it is no key"):
            await house.recorder.delete("c", "Ada")
        assert house.deleted == []
        (tmp_path / "history.key").unlink()

        assert await house.recorder.delete("c", "Ada") == 1
        assert await house.find() == []
        assert house.deleted == ["c"]


async def test_what_waited_while_another_program_deleted_does_not_come_back(path, tmp_path):
    """`fac history delete` beside a daemon whose disk refuses: the call goes once it is written."""
    async with living(path) as house:
        await house.recorder.write()
        (tmp_path / "history.key").write_text("no key")
        house.call(metadata={"from": "+4930123456"})
        house.call("other")
        await house.recorder.write()
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            recorder_module.entries.delete("c", "Ada", file)
        (tmp_path / "history.key").unlink()

        await house.recorder.drain()
        assert [call["call_id"] for call in await house.find()] == ["other"]
        assert house.deleted == ["c"]


async def test_a_file_that_was_replaced_gets_the_calls_that_go_on(path, tmp_path):
    """After the operator moved a file away, calls in progress are written into the new one to their end."""
    async with living(path) as house:
        house.call(end=False)
        await house.recorder.drain()
        for it in tmp_path.glob("history.db*"):
            it.rename(tmp_path / f"old-{it.name}")
        house.bus.publish(a_decision(call_id="c"))
        await house.recorder.drain()
        house.bus.publish(ended())
        [call] = await house.details()

    assert (call["end_reason"], len(call["decisions"])) == ("completed", 1)
