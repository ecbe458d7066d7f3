import asyncio
import json
import sqlite3
import threading
from contextlib import asynccontextmanager, closing

import pytest

from fac_stream.alerts import ledger as ledger_module
from fac_stream.alerts.desk import Desk
from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.message import Attempt, Outcome
from fac_stream.alerts.outbox import Outbox
from fac_stream.alerts.rules import Rules
from fac_stream.bus import Bus
from fac_stream.config_alerts import AlertRule
from fac_stream.config_hooks import Webhook
from fac_stream.events import (
    AlertMarked,
    AlertRaised,
    AlertResolved,
    CallDeleted,
    CallEnded,
    CallStarted,
)
from fac_stream.storage import database as database_module
from fac_stream.storage.database import Database
from tests.fakes import a_decision

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELIVERED = Attempt(Outcome.DELIVERED, "HTTP 204")
REFUSED = Attempt(Outcome.RETRY, "HTTP 500")
GONE = Attempt(Outcome.GONE, "HTTP 410")


class House:
    """A desk on a file, a bus before it, and a receiver that answers as it is told."""

    def __init__(self, path, answer=DELIVERED, keep_days=None, **hook):
        self.bus, self.answer, self.posts, self.alerts = Bus(), answer, [], []
        self.hook = Webhook(
            **{"url": "http://h/secret-path", "secret": SECRET, "first_retry_s": 600.0, **hook}
        )
        self.outbox = Outbox(self.hook, self._post, lambda outcome: None)
        self.database = Database(path, MIGRATIONS, erases=True)
        self.desk = Desk(self.bus, self.database, [self.outbox], Rules([AlertRule()]), keep_days=keep_days)
        self.bus.listen(self._note)

    async def _post(self, message):
        self.posts.append(message)
        return self.answer

    def _note(self, event):
        if isinstance(event, AlertRaised | AlertResolved):
            self.alerts.append(event)

    def raise_alert(self, call_id="c"):
        """A leg of a call turns synthetic."""
        self.bus.publish(a_decision(call_id=call_id))

    async def until(self, true):
        """Let the desk work until this holds."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - it yields, it does not wait
                await asyncio.sleep(0)  # a turn of the loop for the others


@pytest.fixture
def live(tmp_path, monkeypatch):
    """Lives of a daemon on the same file, each a context that ends as a crash does."""
    monkeypatch.setattr(database_module, "BUSY_S", 0.0)
    monkeypatch.setattr(ledger_module, "LOOK_EVERY_S", 0.01)

    @asynccontextmanager
    async def start(path=tmp_path / "alerts.db", **settings):
        house = House(path, **settings)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(house.desk.run())
            yield house
            task.cancel()
        house.desk.close()
        await asyncio.to_thread(house.database._thread._thread.join, 20)

    return start


def stand(path):
    """``webhook-id`` kind → (state, attempts) of every delivery on disk."""
    with closing(sqlite3.connect(path)) as file:
        rows = file.execute(
            "SELECT type, state, attempts FROM message JOIN delivery ON id = message ORDER BY id"
        )
        return [(kind.removeprefix("alert."), state, attempts) for kind, state, attempts in rows]


async def test_an_alert_is_on_disk_before_anybody_hears_of_it(live, tmp_path):
    """The bus and the receiver get it after its transaction, with the same id; other events raise nothing."""
    async with live() as house:
        found = []
        house.bus.listen(
            lambda event: (
                found.append(stand(tmp_path / "alerts.db")) if event.type == "alert.raised" else None
            )
        )
        started = CallStarted(call_id="c", source="s", legs=[], sample_rate=1, encoding="e", metadata={})
        house.bus.publish(started)
        house.raise_alert()
        assert house.alerts == []
        await house.desk.settle()
        await house.desk.drain()

        assert found == [[("raised", "pending", 0)]]
        assert [f"{it.alert_id}.raised" for it in house.alerts] == [it.message_id for it in house.posts]
    assert stand(tmp_path / "alerts.db") == [("raised", "delivered", 1)]


async def test_what_was_not_delivered_is_delivered_by_the_next_daemon(live, tmp_path):
    """With the same id and bytes, with its attempts, when its retry is due; and its call is over."""
    async with live(answer=REFUSED) as first:
        first.raise_alert()
        await first.until(lambda: first.posts)
        await first.desk.ledger.drain()
    assert stand(tmp_path / "alerts.db") == [("raised", "pending", 1)]

    with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
        file.execute("UPDATE delivery SET due = 0")
    async with live() as second:
        await second.until(lambda: len(second.posts) == 2)
        await second.desk.drain()

    assert second.posts[0] == first.posts[0]
    resolved = json.loads(second.posts[1].body)
    assert (resolved["type"], resolved["data"]["reason"]) == ("alert.resolved", "call_ended")
    assert resolved["data"]["alert_id"] == first.alerts[0].alert_id
    assert second.alerts == []
    assert stand(tmp_path / "alerts.db") == [("raised", "delivered", 2), ("resolved", "delivered", 1)]

    async with live() as third:
        await third.until(lambda: third.database.opened)
        await third.desk.drain()
    assert third.posts == []


async def test_a_retry_that_is_not_due_waits_over_the_restart(live):
    """A restart does not turn a receiver's "later" into "now"."""
    async with live(answer=Attempt(Outcome.RETRY, "HTTP 503", 600.0)) as first:
        first.raise_alert()
        await first.until(lambda: first.posts)
        first.bus.publish(CallEnded(call_id="c", reason="completed", duration_s=1, legs=[]))
        await first.until(lambda: first.desk.pending == 2)
        await first.desk.ledger.drain()

    async with live() as second:
        await second.until(lambda: second.desk.pending == 2)
        await second.desk.drain()
        assert (second.posts, second.desk.pending) == ([], 2)


async def test_410_outlives_the_daemon_but_not_the_configuration(live):
    """Nothing is posted to a receiver that is gone, until its settings change."""
    async with live(answer=GONE) as first:
        first.raise_alert()
        await first.until(lambda: first.outbox.problem)
        await first.desk.ledger.drain()

    async with live() as second:
        await second.until(lambda: second.outbox.problem)
        second.raise_alert()
        await second.desk.settle()
        assert second.desk.pending == 0
        await second.desk.ledger.drain()
    assert second.posts == []

    async with live(timeout_s=1.0) as third:
        await third.until(lambda: third.database.opened)
        third.raise_alert()
        await third.until(lambda: third.alerts)
        await third.desk.drain()
    # The second daemon's alert was given up; its resolution, which the third made, was not.
    assert "alert.raised" in {message.type for message in third.posts}
    assert third.outbox.problem is None


async def test_what_another_program_made_pending_is_delivered(live, tmp_path):
    """The daemon notices a change of the file while it runs: that is how a replay works."""
    async with live(answer=REFUSED, max_attempts=1) as house:
        house.raise_alert()
        await house.until(lambda: house.posts and not house.desk.pending)
        await house.desk.ledger.drain()
        assert stand(tmp_path / "alerts.db") == [("raised", "dead", 1)]

        house.answer = DELIVERED
        with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
            file.execute("UPDATE delivery SET state = 'pending', attempts = 0, due = 0")
        await house.until(lambda: len(house.posts) == 2)
        await house.desk.drain()

    assert house.posts[0] == house.posts[1]
    assert stand(tmp_path / "alerts.db") == [("raised", "delivered", 1)]


@pytest.mark.parametrize("fault", ["locked", "damaged", "full"])
async def test_a_faulty_disk_holds_up_no_alert(live, tmp_path, fault):
    """It is told and published, health says what is wrong; with the fault gone it is on disk after all."""
    path = tmp_path / "alerts.db"
    if fault == "damaged":
        path.write_bytes(b"no database" * 1000)
    async with live() as house:
        if fault != "damaged":
            await house.until(lambda: house.database.opened)
            await house.desk.ledger.drain()
        other = sqlite3.connect(path if fault == "locked" else ":memory:", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        if fault == "full":
            await house.database.run(lambda c: c.execute("PRAGMA max_page_count = 1") and None)
        for number in range(50):
            house.raise_alert(f"call-{number}-{'x' * 1000}")
        await house.until(lambda: len(house.posts) == 50)
        words = {"locked": "another program", "damaged": "move it away", "full": "the disk is full"}
        assert any(words[fault] in problem for problem in house.desk.problems)
        assert len(house.alerts) == 50

        other.close()
        if fault == "damaged":
            path.rename(tmp_path / "damaged.db")
        if fault == "full":
            await house.database.run(lambda c: c.execute("PRAGMA max_page_count = 100000") and None)
        await house.until(lambda: not house.desk.ledger.unsaved)
        assert house.desk.problems == []

    assert stand(path) == [("raised", "delivered", 1)] * 50


async def test_a_disk_that_hangs_is_not_waited_for_without_end(live, monkeypatch):
    """After its patience the alert goes out, and health says that the disk does not answer."""
    monkeypatch.setattr(ledger_module, "PATIENCE_S", 0.01)
    async with live() as house:
        await house.until(lambda: house.database.opened)
        blocked = threading.Event()
        house.database._thread.submit(blocked.wait, 30)
        house.raise_alert()
        await house.until(lambda: house.posts and house.desk.problems)
        assert "does not answer" in house.desk.problems[0]
        monkeypatch.setattr(ledger_module, "PATIENCE_S", 20.0)
        blocked.set()
        await house.until(lambda: not house.desk.problems)


async def test_a_record_that_the_file_refuses_takes_no_other_with_it(live, tmp_path):
    """The others of its batch are on disk, it goes out all the same, and health says what is not saved."""
    async with live() as house:
        await house.until(lambda: house.database.opened)
        with closing(sqlite3.connect(tmp_path / "alerts.db")) as file, file:
            file.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON message WHEN CAST(NEW.body AS TEXT) LIKE '%call-1%'"
                " BEGIN SELECT RAISE(ABORT, 'a damaged schema'); END"
            )
        for number in range(3):
            house.raise_alert(f"call-{number}")
        await house.until(lambda: len(house.posts) == 3)
        await house.desk.drain()

        assert stand(tmp_path / "alerts.db") == [("raised", "delivered", 1)] * 2
        assert house.desk.ledger.unsaved == 0
        [problem] = house.desk.problems
        assert "1 record" in problem


async def test_the_alerts_of_a_deleted_call_are_gone(live, tmp_path):
    """With marks and deliveries, out of every byte of the file; those of other calls stay."""
    async with live() as house:
        for call_id in ("call-of-ada", "call-of-bo"):
            house.raise_alert(call_id)
        await house.until(lambda: len(house.posts) == 2)
        await house.desk.drain()
        gone, kept = (alert.alert_id for alert in house.alerts)
        await house.desk.mark(AlertMarked(alert_id=gone, mark="false_alarm", by="Ada", note="a note"))

        house.bus.publish(CallDeleted(call_id="call-of-ada"))
        await house.desk.ledger.drain()

    held = b"".join(it.read_bytes() for it in tmp_path.glob("alerts.db*"))
    assert [it for it in (b"call-of-ada", gone.encode(), b"a note") if it in held] == []
    assert kept.encode() in held
    assert stand(tmp_path / "alerts.db") == [("raised", "delivered", 1)]


async def test_a_deleted_call_is_not_written_again(live, tmp_path):
    """Not by an alert that waited for the disk while it was deleted; whoever was told hears of its end."""
    path = tmp_path / "alerts.db"
    async with live() as house:
        house.raise_alert("call-of-ada")
        await house.until(lambda: house.posts)
        await house.desk.drain()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            house.raise_alert("another")
            await house.until(lambda: house.desk.ledger.unsaved)
            house.bus.publish(CallEnded(call_id="call-of-ada", reason="completed", duration_s=1, legs=[]))
            house.bus.publish(CallDeleted(call_id="call-of-ada"))
        await house.desk.drain()
        await house.desk.ledger.drain()
        await house.until(lambda: len(house.posts) == 3)

    held = b"".join(it.read_bytes() for it in tmp_path.glob("alerts.db*"))
    assert b"call-of-ada" not in held
    assert b"another" in held


async def test_no_secret_is_on_disk(live, tmp_path):
    """Neither the key nor the address of a receiver: with some, the path is the password."""
    async with live(answer=REFUSED) as house:
        house.raise_alert()
        await house.until(lambda: house.posts)
        await house.desk.ledger.drain()

    text = b"".join(it.read_bytes() for it in tmp_path.iterdir())
    assert b"secret-path" not in text
    assert SECRET.removeprefix("whsec_").encode() not in text
    assert house.hook.keys[0].key not in text


async def test_memory_alone_works_the_same(live):
    """Without a file alerts are delivered; nothing is said to be wrong."""
    async with live(path=None) as house:
        house.raise_alert()
        await house.until(lambda: house.posts)
        await house.desk.drain()
        assert house.desk.problems == []
