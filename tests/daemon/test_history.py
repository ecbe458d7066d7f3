"""Calls placed, the daemon killed, the daemon started again: the history answers for what happened."""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import pytest
from websockets.asyncio.client import connect

from fac_stream.alerts.message import Message
from fac_stream.events import AlertRaised, AlertResolved
from fac_stream.storage.audit import entries, person, verify
from tests.fakes import scored_at
from tests.running import running, s16, stream

pytestmark = pytest.mark.daemon

ROUNDS = int(os.environ.get("FAC_KILL_ROUNDS", "2"))
HELLO = {"sample_rate": 16_000, "encoding": "pcm_s16le", "channels": 1}
SOUND = s16(scored_at(0.5, 6.0))


def get(daemon, path, method="GET"):
    """The answer as JSON."""
    request = urllib.request.Request(daemon.url + path, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def gauge(daemon, name):
    """A value of the metrics."""
    with urllib.request.urlopen(daemon.url + "metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def until(daemon, path, true):
    """Ask until the answer is so."""
    async with asyncio.timeout(60):
        while not true(answer := await asyncio.to_thread(get, daemon, path)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    return answer


def fac(folder, *arguments):
    """A command beside the daemon; its JSON lines."""
    command = [sys.executable, "-m", "fac_stream", *arguments, "--json", "--config", folder / "config.yaml"]
    environ = os.environ | {"STATE_DIRECTORY": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


async def place(daemon, call_id, metadata):
    """A whole call."""
    hello = HELLO | {"call_id": call_id, "metadata": metadata}
    await stream(daemon.ws("/ws/ingest"), hello, SOUND, bytes_per_s=32_000, pace=0)


def write_alert(path, call_id, days):
    """An alert of an earlier daemon, so many days old, as it stands in its file."""
    alert = AlertRaised(
        call_id=call_id,
        leg="mixed",
        alert_id=f"alert_of_{call_id}",
        rule="synthetic-voice",
        severity="critical",
        summary="…",
        at_s=1.0,
        smoothed=0.9,
        speech_s=1.0,
        model="m@1",
    )
    same = alert.model_dump(include={"call_id", "leg", "alert_id", "rule", "severity", "at_s"})
    messages = [Message.of(alert), Message.of(AlertResolved(**same, reason="call_ended"))]
    written_at = time.time() - days * 86_400
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany(
            "INSERT INTO message (message_id, alert_id, type, written_at, life, body)"
            " VALUES (?, ?, ?, ?, 'earlier', ?)",
            [(it.message_id, it.alert_id, it.type, written_at, it.body) for it in messages],
        )


@pytest.mark.timeout(240)
async def test_the_history_survives_the_daemon(tmp_path):
    """What ended is told as it was, what went on ended by crash; searched, shown, deleted from every byte."""
    with running(tmp_path) as daemon:
        await place(daemon, "told-1", {"from": "+49 30 123456", "platform": "twilio", "name": "Ada"})
        async with connect(daemon.ws("/ws/ingest")) as socket:
            await socket.send(json.dumps(HELLO | {"call_id": "torn-1", "metadata": {"to": "+49 30 999999"}}))
            await socket.send(SOUND)
            await until(
                daemon, "api/history", lambda it: {"told-1", "torn-1"} <= {c["call_id"] for c in it["calls"]}
            )
            await until(daemon, "api/history/told-1", lambda it: it["calls"][0]["end_reason"])
            [active] = fac(tmp_path, "history", "list", "--state", "active")
            assert active["call_id"] == "torn-1"
            daemon.process.kill()
            await asyncio.to_thread(daemon.process.wait, 30)
    write_alert(tmp_path / "alerts.db", "old-1", days=40)
    write_alert(tmp_path / "alerts.db", "told-1", days=1)

    with running(tmp_path) as daemon:
        torn, told = get(daemon, "api/history")["calls"]
        assert (torn["call_id"], torn["end_reason"]) == ("torn-1", "crash")
        assert (told["call_id"], told["end_reason"], told["duration_s"]) == ("told-1", "completed", 6.0)
        assert told["metadata"] == {"platform": "twilio"}
        assert len(get(daemon, "api/history/told-1")["calls"][0]["timeline"]["mixed"]) == 2
        assert get(daemon, "api/history?number=%2B4930999999")["calls"] == [torn]
        assert fac(tmp_path, "history", "list", "--number", "004930123456") == [told]
        assert get(daemon, "api/health")["problems"] == []
        [alert] = (await until(daemon, "api/alerts", lambda it: len(it["alerts"]) == 1))["alerts"]
        assert alert["alert_id"] == "alert_of_told-1"

        assert get(daemon, "api/history/torn-1", "DELETE") == {"call_id": "torn-1", "deleted": 1}
        assert fac(tmp_path, "history", "delete", "told-1") == [{"call_id": "told-1", "deleted": 1}]
        audit = tmp_path / "audit.jsonl"
        async with asyncio.timeout(60):
            while sum(it.kind == "call.deleted" for it in entries(audit)) < 2:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        assert get(daemon, "api/history")["calls"] == []
        await until(daemon, "api/alerts", lambda it: it["alerts"] == [])
        assert daemon.stop() == 0

    held = b"".join(it.read_bytes() for it in tmp_path.glob("*.db*"))
    traces = (b"told-1", b"torn-1", b"123456", b"999999", b"Ada", b"alert_of_")
    assert [trace for trace in traces if trace in held] == []
    [verdict] = fac(tmp_path, "audit", "verify")
    assert verdict["good"]
    kinds = [it["kind"] for it in fac(tmp_path, "audit", "list")]
    assert kinds.count("daemon.started") == 2
    assert kinds[-1] == "daemon.stopped"
    deletions = [fac(tmp_path, "audit", "list", "--call", it) for it in ("torn-1", "told-1")]
    assert [[(it["kind"], it["facts"]["by"]) for it in found] for found in deletions] == [
        [("call.deleted", "API 127.0.0.1")],
        [("call.deleted", person())],
    ]


@pytest.mark.timeout(120 + 60 * ROUNDS)
async def test_a_daemon_killed_anywhere_leaves_both_files_whole(tmp_path):
    """SIGKILL while calls come and go: every call that was seen ended stands there, and the chain holds."""
    seed = random.randrange(2**32)
    dice, seen = random.Random(seed), set()
    for number in range(ROUNDS):
        with running(tmp_path) as daemon:
            for call in range(dice.randint(1, 4)):
                await place(daemon, f"r{number}-{call}", {})
            answer = await until(daemon, "api/history", lambda it: it["calls"])
            seen |= {it["call_id"] for it in answer["calls"] if it["end_reason"] == "completed"}
            daemon.process.kill()
            await asyncio.to_thread(daemon.process.wait, 30)

    with running(tmp_path) as daemon:
        calls = get(daemon, "api/history?limit=500")["calls"]
        assert daemon.stop() == 0
    completed = {it["call_id"] for it in calls if it["end_reason"] == "completed"}
    assert seen <= completed, f"seed {seed}"
    assert {it["end_reason"] for it in calls} <= {"completed", "crash"}, f"seed {seed}"
    assert verify(tmp_path / "audit.jsonl").good, f"seed {seed}"


@pytest.mark.timeout(180)
async def test_a_history_that_cannot_be_written_stops_no_call(tmp_path):
    """Damaged file, damaged log: calls are scored, health and metrics say what is wrong."""
    (tmp_path / "history.db").write_bytes(b"no database" * 1000)
    (tmp_path / "audit.jsonl").write_bytes(b"no entry\n")
    with running(tmp_path) as daemon:
        await place(daemon, "c", {})
        health = await until(daemon, "api/health", lambda it: len(it["problems"]) >= 2)
        assert health["status"] == "degraded"
        problems = " ".join(health["problems"])
        assert "the history is not written" in problems
        assert "the audit log is not written" in problems
        assert "move it away" in problems
        calls = await until(daemon, "api/calls", lambda it: it["calls"])
        assert calls["calls"][0]["end_reason"] == "completed"
        assert await asyncio.to_thread(gauge, daemon, "fac_history_unwritten") > 0
        assert daemon.stop() == 0
    assert (tmp_path / "history.db").read_bytes().startswith(b"no database")
