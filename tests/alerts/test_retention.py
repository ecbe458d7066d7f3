"""How long alerts are kept."""

import sqlite3
import time
from contextlib import closing

import pytest

from fac_stream.alerts import ledger as ledger_module
from fac_stream.alerts import retention as retention_module
from fac_stream.alerts.records import Wanted
from fac_stream.events import AlertMarked, CallEnded
from tests.alerts.test_desk import DELIVERED, REFUSED, stand


async def test_the_file_does_not_grow_for_ever(live, tmp_path, monkeypatch):
    """The oldest that were delivered go first, then the oldest dead; what is pending stays."""
    monkeypatch.setattr(ledger_module, "PRUNE_EVERY", 1)
    monkeypatch.setattr(retention_module, "KEEP_DELIVERED", 3)
    monkeypatch.setattr(retention_module, "KEEP_DEAD", 6)
    async with live(answer=REFUSED) as house:
        house.raise_alert("waits")
        await house.until(lambda: house.posts)
        house.hook = house.outbox._hook = house.hook.model_copy(update={"max_attempts": 1})
        house.raise_alert("dies")
        await house.until(lambda: len(house.posts) == 2)
        house.answer = DELIVERED
        for number in range(4):
            house.raise_alert(f"{number}")
            await house.until(lambda n=number: len(house.posts) == n + 3)
            await house.desk.ledger.drain()
        four = stand(tmp_path / "alerts.db")
        for number in range(4, 8):
            house.raise_alert(f"{number}")
            await house.until(lambda n=number: len(house.posts) == n + 3)
            await house.desk.ledger.drain()

    assert [state for _, state, _ in four] == ["pending", "dead", *["delivered"] * 3]
    assert [state for _, state, _ in stand(tmp_path / "alerts.db")] == ["pending", *["delivered"] * 3]


@pytest.fixture
async def aged(live, tmp_path):
    """A file with an alert that was delivered, and one that was not, of forty days ago; and a recent one."""
    async with live(answer=REFUSED) as house:
        house.raise_alert("waits")
        await house.until(lambda: house.posts)
        house.answer = DELIVERED
        for number, call_id in enumerate(("call-of-ada", "call-of-bo"), 2):
            house.raise_alert(call_id)
            await house.until(lambda n=number: len(house.posts) == n)
        for call_id in ("call-of-ada", "waits"):
            house.bus.publish(CallEnded(call_id=call_id, reason="completed", duration_s=1, legs=[]))
        await house.desk.drain()
        await house.desk.mark(AlertMarked(alert_id=house.alerts[1].alert_id, mark="false_alarm", by="Ada"))
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        old = "instr(CAST(body AS TEXT), 'call-of-bo') = 0"
        file.execute(f"UPDATE message SET written_at = written_at - 40 * 86400 WHERE {old}")
    return tmp_path


async def lived(live, **settings):
    """A daemon lives until it has looked at its file; the calls whose alerts stand there then."""
    async with live(**settings) as house:
        await house.until(lambda: house.desk.ledger._seen)
        await house.desk.ledger.drain()
        return {it.raised.call_id for it in await house.desk.records(Wanted())}


async def test_alerts_are_kept_for_their_days(live, aged):
    """What is over is deleted with its marks, out of every byte; what a receiver waits for stays."""
    assert await lived(live) == {"waits", "call-of-ada", "call-of-bo"}
    assert await lived(live, keep_days=41) == {"waits", "call-of-ada", "call-of-bo"}
    assert await lived(live, keep_days=30) == {"waits", "call-of-bo"}

    held = b"".join(it.read_bytes() for it in aged.glob("alerts.db*"))
    assert [it for it in (b"call-of-ada", b"Ada") if it in held] == []


async def test_alerts_wait_for_a_clock_that_can_be_believed(live, aged, monkeypatch):
    """A daemon that starts ten years ahead deletes nothing for its age."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3650 * 86_400)

    assert await lived(live, keep_days=30) == {"waits", "call-of-ada", "call-of-bo"}
