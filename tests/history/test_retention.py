import asyncio

import pytest

from fac_stream.history import retention as retention_module
from fac_stream.history.retention import Retention
from fac_stream.history.schema import MIGRATIONS
from fac_stream.storage.database import Database
from tests.history.keeping import living, raised, window

DAY_S = 86_400.0


class Clock:
    """A wall clock that is set, and a monotonic one that goes on its own."""

    def __init__(self, monkeypatch, start):
        self.wall, self.passed = start, 0.0
        monkeypatch.setattr(retention_module.time, "time", lambda: self.wall)
        monkeypatch.setattr(retention_module.time, "monotonic", lambda: self.passed)

    def advance(self, seconds):
        """Time passes."""
        self.wall += seconds
        self.passed += seconds


@pytest.fixture
def clock(monkeypatch):
    """Now, as the calls have it."""
    real = retention_module.time.time()
    return Clock(monkeypatch, real)


async def placed(house, call_id, days):
    """A call so many days from now."""
    house.call(call_id)
    await house.recorder.drain()

    def move(connection):
        microseconds = int(days * DAY_S * 1e6)
        connection.execute("PRAGMA defer_foreign_keys = ON")
        (number,) = connection.execute("SELECT id FROM call WHERE call_id = ?", (call_id,)).fetchone()
        for statement in (
            "UPDATE call SET id = id + ? WHERE id = ?",
            "UPDATE leg SET call = call + ? WHERE call = ?",
        ):
            connection.execute(statement, (microseconds, number))

    await house.recorder.ask(move)


async def test_what_is_too_old_goes(tmp_path, clock, monkeypatch):
    """Ended calls and health alerts beyond their days; calls that go on stay; the run is told."""
    monkeypatch.setattr(retention_module, "CALLS_A_TURN", 3)
    told = []
    async with living(tmp_path / "history.db", keep_days=7) as house:
        retention = Retention(house.recorder, house.settings, lambda *counts: told.append(counts))
        for number in range(10):
            house.call(str(number))
        house.call("open", end=False)
        house.bus.publish(raised("health", call_id=None, leg=None, category="health"))
        await house.recorder.drain()
        await retention.retain()
        assert len(await house.find()) == 11

        clock.advance(6.9 * DAY_S)
        await retention.retain()
        assert len(await house.find()) == 11
        clock.advance(0.2 * DAY_S)
        await retention.retain()

        assert [it["call_id"] for it in await house.find()] == ["open"]
        left = await house.recorder.ask(lambda c: c.execute("SELECT count(*) FROM alert").fetchone()[0])
    assert told == [(0, 0), (10, 0)]
    assert left == 0
    assert house.deleted == []


async def test_the_oldest_go_where_the_file_is_too_large(tmp_path, monkeypatch):
    """The file itself shrinks below its limit, the newest calls stay, and what was deleted is out of it."""
    monkeypatch.setattr(retention_module, "CALLS_A_TURN", 10)
    told = []
    path = tmp_path / "history.db"
    windows = [window(index, leg="caller" * 10) for index in range(0, 1000, 10)]
    async with living(path, max_mb=1) as house:
        for number in range(150):
            house.call(f"call-{number:03}-x", windows=windows)
            if number % 10 == 0:
                await house.recorder.write()
        await house.recorder.drain()
        await house.database.tidy()
        assert path.stat().st_size > 1_000_000

        await Retention(house.recorder, house.settings, lambda *counts: told.append(counts)).retain()
        await house.recorder.write()

        assert path.stat().st_size <= 1_000_000
        [(too_old, too_much)] = told
        assert too_old == 0 < too_much < 150
        kept = [it["call_id"] for it in await house.find()]
        assert kept == [f"call-{number:03}-x" for number in range(149, too_much - 1, -1)]
        assert b"call-000-x" not in path.read_bytes()


async def test_a_file_that_never_shrinks_keeps_what_fits(tmp_path):
    """One that was restored without automatic vacuum stays as large as it is, and its newest calls stay."""
    path = tmp_path / "history.db"
    restored = Database(path, MIGRATIONS)
    await restored.run(lambda connection: None)
    restored.close()
    await asyncio.to_thread(restored._thread._thread.join, 20)
    windows = [window(index, leg="caller" * 10) for index in range(0, 1000, 10)]
    async with living(path, max_mb=1) as house:
        for number in range(150):
            house.call(f"call-{number:03}", windows=windows)
        await house.recorder.drain()
        await house.database.tidy()
        size = path.stat().st_size
        assert size > 1_000_000

        await Retention(house.recorder, house.settings, lambda *counts: None).retain()
        await house.recorder.write()

        assert 0 < len(await house.find()) < 150
        assert path.stat().st_size >= size


@pytest.mark.parametrize(("jump_days", "hours"), [(9, 1), (3650, 24)])
async def test_a_clock_that_jumps_deletes_nothing_at_once(tmp_path, clock, jump_days, hours):
    """A wrong date is given an hour to be put right, a wild one a day; one that stays is believed."""
    async with living(tmp_path / "history.db", keep_days=7) as house:
        retention = Retention(house.recorder, house.settings, lambda *counts: None)
        house.call()
        await house.recorder.drain()
        await retention.retain()
        clock.wall += jump_days * DAY_S
        await retention.retain()
        for _ in range(hours - 1):
            clock.advance(3600)
            await retention.retain()
        assert len(await house.find()) == 1

        clock.advance(3600)
        await retention.retain()
        assert await house.find() == []


async def test_a_daemon_that_starts_years_ahead_deletes_nothing(tmp_path, clock):
    """Nor does a call by the wrong clock make it believed; put right, it deletes what is too old."""
    async with living(tmp_path / "history.db", keep_days=7) as house:
        await placed(house, "old", -10)
        await placed(house, "recent", -5)
        right = clock.wall
        clock.wall += 3650 * DAY_S
        retention = Retention(house.recorder, house.settings, lambda *counts: None)
        await retention.retain()
        await placed(house, "by-the-wrong-clock", 3650)
        clock.advance(3600)
        await retention.retain()
        assert len(await house.find()) == 3

        clock.wall = right
        for _ in range(26):
            await retention.retain()
            clock.advance(3600)
        assert {it["call_id"] for it in await house.find()} == {"recent", "by-the-wrong-clock"}


async def test_a_month_without_calls_is_no_reason_to_keep_them_for_ever(tmp_path, clock):
    """The clock of a daemon that was off for long is believed after a day."""
    async with living(tmp_path / "history.db", keep_days=7) as house:
        house.call()
        await house.recorder.drain()
        clock.advance(40 * DAY_S)
        retention = Retention(house.recorder, house.settings, lambda *counts: None)
        await retention.retain()
        assert len(await house.find()) == 1

        clock.advance(DAY_S)
        await retention.retain()
        assert await house.find() == []
