"""What people say of alerts: kept, published, listed."""

import sqlite3
import time
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from fac_stream.alerts import ledger as ledger_module
from fac_stream.alerts import retention as retention_module
from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.message import Message
from fac_stream.alerts.records import MAX_MARKS, Wanted, marked
from fac_stream.errors import StorageError
from fac_stream.events import AlertMarked, AlertRaised, CallEnded


def said(alert_id, mark="acknowledged", by="Ada", note=""):
    """Somebody says it."""
    return AlertMarked(alert_id=alert_id, mark=mark, by=by, note=note)


async def raised(house, call_id="c"):
    """An alert that is on disk and told; its id."""
    before = len(house.alerts)
    house.raise_alert(call_id)
    await house.until(lambda: len(house.alerts) > before)
    await house.desk.drain()
    return house.alerts[before].alert_id


def marks_of(house):
    """A list that fills with the marks that the bus tells."""
    told = []
    house.bus.listen(lambda event: told.append(event) if event.type == "alert.marked" else None)
    return told


async def test_a_mark_is_on_disk_and_then_published(live, tmp_path):
    """With the call and leg of its alert; whoever was answered finds it after a crash."""
    async with live() as house:
        told = marks_of(house)
        alert_id = await raised(house)
        record = await house.desk.mark(said(alert_id, "false_alarm", note="our own bot"))
        with closing(sqlite3.connect(tmp_path / "alerts.db")) as file:
            assert file.execute("SELECT mark, who, note FROM mark").fetchall() == [
                ("false_alarm", "Ada", "our own bot")
            ]
        await house.until(lambda: told)

    assert (record.acknowledged, record.verdict, record.state) == (True, "false_alarm", "firing")
    (event,) = told
    assert (event.call_id, event.leg, event.mark, event.by) == ("c", "caller", "false_alarm", "Ada")

    async with live() as second:
        told_again = marks_of(second)
        await second.until(lambda: second.posts)  # its call is over
        again = await second.desk.record(alert_id)
        await second.desk.mark(said(alert_id))
        await second.until(lambda: told_again)
    assert again.marks == record.marks
    assert again.resolved.reason == "call_ended"
    assert [event.mark for event in told_again] == ["acknowledged"]


async def test_the_last_verdict_counts_and_each_says_a_thing_once(live):
    """A mark by the same person replaces theirs; an acknowledgement is no verdict."""
    async with live() as house:
        alert_id = await raised(house)
        for mark, by in (
            ("confirmed_fake", "Ada"),
            ("false_alarm", "Bob"),
            ("confirmed_fake", "Ada"),
            ("acknowledged", "Bob"),
        ):
            record = await house.desk.mark(said(alert_id, mark, by))

    assert [(it.mark, it.by) for it in record.marks] == [
        ("false_alarm", "Bob"),
        ("confirmed_fake", "Ada"),
        ("acknowledged", "Bob"),
    ]
    assert record.verdict == "confirmed_fake"


async def test_marks_have_a_bound(live):
    """Of an alert that everybody marks, the oldest marks go."""
    async with live() as house:
        alert_id = await raised(house)
        for number in range(MAX_MARKS + 5):
            record = await house.desk.mark(said(alert_id, by=f"user {number}"))

    assert [it.by for it in record.marks] == [f"user {number}" for number in range(5, MAX_MARKS + 5)]


async def test_an_alert_that_is_none_is_not_marked(live, tmp_path):
    """Nothing is written."""
    async with live() as house:
        assert await house.desk.mark(said("alert_none")) is None
        assert await house.desk.record("alert_none") is None
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file:
        assert file.execute("SELECT * FROM mark").fetchall() == []


async def test_a_mark_by_another_program_is_published(live, tmp_path):
    """``fac alerts`` writes beside the daemon, or while none runs: it is told once, by the next one."""
    async with live() as house:
        told = marks_of(house)
        alert_id = await raised(house)
        with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
            marked(said(alert_id, by="Ada"), file)
        await house.until(lambda: told)
        await house.desk.ledger.drain()
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        marked(said(alert_id, by="Bob"), file)
    async with live() as second:
        told += (later := marks_of(second))
        await second.until(lambda: later)
        await second.desk.ledger.drain()
    async with live() as third:
        never = marks_of(third)
        await third.until(lambda: third.database.opened)
        await third.desk.ledger.drain()

    assert [event.by for event in (*told, *later, *never)] == ["Ada", "Bob"]


async def test_a_disk_that_refuses_refuses_the_mark(live, tmp_path):
    """Nobody is told that their mark is kept when it is not."""
    async with live() as house:
        alert_id = await raised(house)
        with closing(sqlite3.connect(tmp_path / "alerts.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError, match="another program"):
                await house.desk.mark(said(alert_id))
        record = await house.desk.mark(said(alert_id, by="Bob"))

    assert [it.by for it in record.marks] == ["Bob"]


async def test_alerts_are_listed_in_pages(live):
    """Newest first, by state, call and category; the next page begins after the last one's end."""
    async with live() as house:
        ids = [await raised(house, f"c{number}") for number in range(5)]
        house.bus.publish(CallEnded(call_id="c1", reason="completed", duration_s=1, legs=[]))
        await house.desk.drain()
        await house.desk.mark(said(ids[2]))
        house.desk.take(
            AlertRaised(
                alert_id="alert_h",
                category="health",
                rule="disk-full",
                severity="warning",
                summary="/var: 1 MB left",
                at_s=1.0,
                smoothed=None,
                speech_s=0.0,
                model="m",
            )
        )
        await house.desk.drain()

        async def listed(**wanted):
            return [it.alert_id for it in await house.desk.records(Wanted(**wanted))]

        assert await listed() == ["alert_h", *ids[::-1]]
        assert await listed(limit=2, category="fraud") == ids[:2:-1]
        assert await listed(limit=2, before=ids[3]) == [ids[2], ids[1]]
        assert await listed(state="resolved") == [ids[1]]
        assert await listed(state="open", category="fraud") == [ids[4], ids[3], ids[1], ids[0]]
        assert await listed(call_id="c0") == [ids[0]]
        assert await listed(category="health") == ["alert_h"]
        assert await listed(before="alert_none") == []

    async with live() as second:
        await second.until(lambda: len(second.posts) > 4)
        (health,) = await second.desk.records(Wanted(category="health"))
        assert health.resolved.reason == "restarted"
        assert await second.desk.record(ids[0]) is not None


async def test_marked_alerts_stay_longer(live, tmp_path, monkeypatch):
    """They are what a model learns from; in the end their marks go with them."""
    monkeypatch.setattr(ledger_module, "PRUNE_EVERY", 1)
    monkeypatch.setattr(retention_module, "KEEP_DELIVERED", 2)
    monkeypatch.setattr(retention_module, "KEEP_DEAD", 4)
    async with live() as house:
        ids = [await raised(house, "marked")]
        await house.desk.mark(said(ids[0]))
        ids += [await raised(house, f"c{number}") for number in range(3)]
        first = [it.alert_id for it in await house.desk.records(Wanted())]
        ids += [await raised(house, f"d{number}") for number in range(3)]
        then = [it.alert_id for it in await house.desk.records(Wanted())]

    assert first == [ids[3], ids[2], ids[0]]
    assert then == [ids[6], ids[5]]
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file:
        assert file.execute("SELECT count(*) FROM mark").fetchone() == (0,)


async def test_a_file_of_an_older_version_is_brought_up_to_date(live, tmp_path):
    """Its alerts are listed and marked; one that nobody can read stops nothing."""
    event = AlertRaised(
        call_id="old",
        leg="caller",
        alert_id="alert_old",
        rule="r",
        severity="critical",
        summary="…",
        at_s=1.0,
        smoothed=0.9,
        speech_s=1.0,
        model="m",
    )
    body = Message.of(event).body.replace(b'"category": "fraud", ', b"")
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        for statement in MIGRATIONS[0].split(";"):
            file.execute(statement)
        for number, alert_id, content in ((1, "alert_bad", b"{no JSON"), (2, "alert_old", body)):
            row = (number, f"{alert_id}.raised", alert_id, "alert.raised", 0.0, "l", content)
            file.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        file.execute("PRAGMA user_version = 1")

    async with live() as house:
        (record,) = await house.desk.records(Wanted(category="fraud", call_id="old"))
        assert (record.alert_id, record.category) == ("alert_old", "fraud")
        assert (await house.desk.mark(said("alert_old"))).acknowledged
        assert await house.desk.mark(said("alert_bad")) is None
        assert house.desk.ledger.problem is None


@pytest.mark.parametrize(
    "damage", ["marked_at = 9e99", "who = ''", "note = CAST(x'ff' AS TEXT), who = hex(zeroblob(99))"]
)
async def test_a_damaged_mark_is_left_out(live, tmp_path, damage):
    """The daemon starts, says so once, and tells and shows the other marks."""
    async with live() as house:
        alert_id = await raised(house)
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        for by in ("Ada", "Bob"):
            marked(said(alert_id, by=by), file)
        file.execute(f"UPDATE mark SET {damage} WHERE who = 'Ada'")

    with capture_logs() as logs:
        async with live() as second:
            told = marks_of(second)
            await second.until(lambda: told)
            await second.desk.ledger.drain()
            assert second.desk.problems == []
            await second.desk.ledger._work()
        said_so = len([it for it in logs if "a mark on disk" in it["event"]])
        async with live() as third:
            record = await third.desk.record(alert_id)

    assert [it.by for it in told] == [it.by for it in record.marks] == ["Bob"]
    assert said_so == 1


@pytest.mark.parametrize("jump_s", [-40 * 365 * 86_400.0, 40 * 365 * 86_400.0])
async def test_a_clock_that_jumps_costs_nothing(live, monkeypatch, jump_s):
    """Alerts go out and stay in their order, marks are taken, and the last verdict is still the last."""
    async with live() as house:
        first = await raised(house, "c0")
        await house.desk.mark(said(first, "confirmed_fake", "Ada"))
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump_s)
        second = await raised(house, "c1")
        record = await house.desk.mark(said(first, "false_alarm", "Bob"))
        listed = await house.desk.records(Wanted())

    assert record.verdict == "false_alarm"
    assert [it.alert_id for it in listed] == [second, first]
    assert len(house.posts) == 2
