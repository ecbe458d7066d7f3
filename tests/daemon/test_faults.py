"""Disks that fail under a running daemon: it goes on scoring, says what is wrong, and keeps its word."""

import asyncio
import json
import resource
import sqlite3
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, closing

import pytest

from tests.daemon.test_killed import RAISE_ALWAYS
from tests.running import running, stream

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng"), pytest.mark.timeout(300)]

HELLO = {"sample_rate": 16_000, "encoding": "pcm_s16le", "channels": 1}
WATCHFUL = {"after_s": 0.0, "look_every_s": 0.5, "min_free_mb": 0}
MARK = {"mark": "false_alarm", "by": "Ada", "note": "our own voice menu"}
PATIENCE_S = 60


def ask(daemon, path, body=None):
    """Status and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(daemon.url + path, data), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def until(daemon, path, holds):
    """Ask until the answer is so; gives the answer."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status, answer = await asyncio.to_thread(ask, daemon, path)
            if status == 200 and holds(answer):
                return answer
            await asyncio.sleep(0.1)


async def place(daemon, call_id, voice):
    """A whole call of a voice that is called synthetic; its summary."""
    await stream(daemon.ws("/ws/ingest"), HELLO | {"call_id": call_id}, voice, bytes_per_s=32_000, pace=0)
    return await until(daemon, f"api/calls/{call_id}", lambda call: call["resolved_alerts"])


@asynccontextmanager
async def full(daemon, folder):
    """No file can be written beyond its first block, not even the log: what a full disk does."""
    before = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, before)


@asynccontextmanager
async def locked(daemon, folder):
    """Another program holds the file."""
    with closing(sqlite3.connect(folder / "alerts.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("fault", [full, locked])
async def test_a_disk_that_fails_costs_no_alert_and_no_mark(tmp_path, voice, fault):
    """In the fault calls are scored and alerts told; what was answered with yes is there when it is over.

    A mark that cannot be kept is refused. What was raised in the fault is written down after it.
    """
    alerts = {"health": WATCHFUL}
    with running(tmp_path, decision=RAISE_ALWAYS, alerts=alerts, history={"database": None}) as daemon:
        (before,) = (await place(daemon, "before", voice))["resolved_alerts"]
        marks = f"api/alerts/{before['alert_id']}/marks"
        assert ask(daemon, marks, MARK)[0] == 200
        async with fault(daemon, tmp_path):
            status, refusal = await asyncio.to_thread(ask, daemon, marks, MARK | {"by": "Bob"})
            (during,) = (await place(daemon, "during", voice))["resolved_alerts"]
            health = await until(daemon, "api/health", lambda it: it["status"] == "degraded")
        assert (status, refusal["error"]["code"]) == (503, "not_saved")
        assert any("alerts.db" in problem for problem in health["problems"])
        await until(daemon, "api/health", lambda it: it["status"] == "ok")
        listed = await until(daemon, "api/alerts?category=fraud", lambda it: len(it["alerts"]) == 2)
        told = await until(daemon, "api/alerts?category=health", lambda it: it["alerts"])
        assert daemon.stop() == 0

    assert [it["alert_id"] for it in listed["alerts"]] == [during["alert_id"], before["alert_id"]]
    assert {it["raised"]["rule"] for it in told["alerts"]} == {"storage"}
    with running(tmp_path, decision=RAISE_ALWAYS, alerts=alerts) as daemon:
        _, record = ask(daemon, f"api/alerts/{before['alert_id']}")
    assert [(it["by"], it["mark"]) for it in record["marks"]] == [("Ada", "false_alarm")]


async def test_a_damaged_file_stops_nobody(tmp_path, voice):
    """The daemon starts beside it, scores and tells, and says what to do; moved away, a new one is made."""
    path = tmp_path / "alerts.db"
    path.write_bytes(b"no database" * 1000)
    with running(tmp_path, decision=RAISE_ALWAYS, alerts={"health": WATCHFUL}) as daemon:
        call = await place(daemon, "during", voice)
        health = await until(daemon, "api/health", lambda it: it["status"] == "degraded")
        assert any("move it away" in problem for problem in health["problems"])
        assert ask(daemon, "api/alerts")[0] == 503

        path.rename(tmp_path / "damaged.db")
        listed = await until(daemon, "api/alerts?category=fraud", lambda it: it["alerts"])
        assert daemon.stop() == 0

    (alert,) = call["resolved_alerts"]
    assert [it["alert_id"] for it in listed["alerts"]] == [alert["alert_id"]]
