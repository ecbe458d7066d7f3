import asyncio
import fcntl
from contextlib import asynccontextmanager

import pytest

from fac_stream.bus import Bus
from fac_stream.config import Config
from fac_stream.events import AlertMarked, CallDeleted
from fac_stream.history import auditor as auditor_module
from fac_stream.history.numbers import Hashes
from fac_stream.history.records import Records
from fac_stream.storage import audit as audit_module
from fac_stream.storage.audit import entries, verify
from tests.history.keeping import ended, started


@pytest.fixture
def live(tmp_path, monkeypatch):
    """Lives of a daemon's records in one folder."""
    monkeypatch.setattr(auditor_module, "RETRY_S", 0.0)
    monkeypatch.setattr(audit_module, "LOCK_S", 0.0)

    @asynccontextmanager
    async def start(model="m@1", history=None, **sections):
        files = {"database": tmp_path / "history.db", "audit": tmp_path / "audit.jsonl"}
        bus = Bus()
        records = Records(bus, Config(**sections, history=files | (history or {})), model)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(records.run())
            yield bus, records
            task.cancel()
        records.close()
        threads = [records._auditor._thread] if records._auditor else []
        threads += [records.recorder._database._thread] if records.recorder else []
        for thread in threads:
            await asyncio.to_thread(thread._thread.join, 20)

    return start


def told(folder):
    """Kind and facts of every entry."""
    return [(entry.kind, entry.facts) for entry in entries(folder / "audit.jsonl")]


async def test_starts_say_what_is_new(live, tmp_path):
    """Version, model, hash of the configuration; what was otherwise before; and that a daemon ended well."""
    async with live() as (_, records):
        await records.drain()
    async with live("m@2", server={"port": 1}) as (_, records):
        await records.drain()
    async with live("m@2", server={"port": 1}) as (_, records):
        await records.drain()

    starts = [facts for kind, facts in told(tmp_path) if kind == "daemon.started"]
    assert [it["model"] for it in starts] == ["m@1", "m@2", "m@2"]
    assert [sorted(it["before"]) for it in starts] == [[], ["config", "model"], []]
    assert starts[1]["before"] == {"model": "m@1", "config": starts[0]["config"]}
    kinds = [kind for kind, _ in told(tmp_path)]
    assert kinds.count("daemon.stopped") == 3
    assert verify(tmp_path / "audit.jsonl").good


async def test_no_secret_and_no_call_stands_in_the_log(live, tmp_path):
    """Nor does a token change the hash; calls are named by keyed hashes, notes are left out."""
    async with live(server={"token": "x" * 20}) as (bus, records):
        bus.publish(
            AlertMarked(call_id="call-4711", alert_id="a1", mark="false_alarm", by="Ada", note="secret note")
        )
        bus.publish(CallDeleted(call_id="call-4711", by="Ada"))
        await records.drain()
    async with live(server={"token": "y" * 20}) as (_, records):
        await records.drain()

    text = (tmp_path / "audit.jsonl").read_text()
    assert [word for word in ("4711", "secret note", "xxx", "yyy") if word in text] == []
    marked, deleted = (facts for kind, facts in told(tmp_path) if kind in {"alert.marked", "call.deleted"})
    call = Hashes(tmp_path / "history.key").call("call-4711")
    assert marked == {"alert": "a1", "mark": "false_alarm", "by": "Ada", "call": call}
    assert deleted == {"call": call, "by": "Ada"}
    configs = {facts["config"] for kind, facts in told(tmp_path) if kind == "daemon.started"}
    assert len(configs) == 1


async def test_a_log_that_refuses_is_told_and_got_over(live, tmp_path):
    """Locked by another program: health says so, and afterwards all stands there once, in order."""
    path = tmp_path / "audit.jsonl"
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        async with live(history={"database": None}) as (bus, records):
            for number in range(5):
                bus.publish(AlertMarked(alert_id=str(number), mark="acknowledged", by="Ada"))
            async with asyncio.timeout(20):
                while not records.problems:  # noqa: ASYNC110 - it yields, it does not wait
                    await asyncio.sleep(0)
            assert "another program" in records.problems[0]
            assert records.waiting == 6
            fcntl.flock(other, fcntl.LOCK_UN)
            async with asyncio.timeout(20):
                while records.waiting:  # noqa: ASYNC110 - it yields, it does not wait
                    await asyncio.sleep(0)
            assert records.problems == []

    assert [facts.get("alert") for _, facts in told(tmp_path)] == [None, "0", "1", "2", "3", "4"]


async def test_a_log_that_cannot_be_looked_at_is_told(live, tmp_path):
    """A folder that is closed to the daemon, or no folder at all: health says so, and nothing ends."""
    path = tmp_path / ("x" * 300) / "audit.jsonl"
    async with live(history={"database": None, "audit": path}) as (_, records):
        async with asyncio.timeout(20):
            while not records.problems:  # noqa: ASYNC110 - it yields, it does not wait
                await asyncio.sleep(0)
        assert "File name too long" in records.problems[0]
        assert records.waiting == 1


async def test_entries_that_do_not_fit_are_counted(live, monkeypatch):
    """A log that refuses for ever costs no memory without end."""
    monkeypatch.setattr(auditor_module, "MAX_BACKLOG", 3)
    async with live(history={"database": None}) as (bus, records):
        for number in range(10):
            bus.publish(AlertMarked(alert_id=str(number), mark="acknowledged", by="Ada"))
        assert (records.waiting, records.lost) == (3, 8)


async def test_nothing_is_written_where_nothing_is_wanted(live, tmp_path):
    """Both files null: no file, no problem, no recorder."""
    async with live(history={"database": None, "audit": None}) as (bus, records):
        bus.publish(started())
        bus.publish(ended())
        await records.drain()
        assert (records.recorder, records.problems, records.waiting, records.lost) == (None, [], 0, 0)

    assert list(tmp_path.iterdir()) == []
