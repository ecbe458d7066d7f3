"""The daemon is killed at random moments while a receiver fails: no alert is lost, none is made up."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import sqlite3
import threading
from collections import Counter
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from fac_stream.events import AlertRaised, AlertResolved, decode
from tests.running import running

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng")]

ROUNDS = int(os.environ.get("FAC_KILL_ROUNDS", "2"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALLERS = 3
PATIENCE_S = 60
RAISE_ALWAYS = {"raise_at": 0.0}
"""Any speech is called synthetic: what is tried here is not the model."""


class Receiver:
    """A webhook receiver that answers, refuses, drops, delays as the dice fall, until it is ``healthy``."""

    WAYS = ("accept", "accept", "refuse", "busy", "drop", "lose answer", "delay")
    MOST_FAILURES = 4
    """Of one message: the test is about kills, not about dead letters."""

    def __init__(self, dice):
        self.healthy = False
        self.accepted = set()
        """``webhook-id`` of the posts that were answered 2xx."""
        self.bodies = {}
        """``webhook-id`` → the bodies that came with it."""
        self.forged = []
        self.round_over = threading.Event()
        self.changed = threading.Condition()
        self._dice = dice
        self._tries = Counter()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with suppress(ConnectionError):
                    receiver.take(self, body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def take(self, handler, body):
        """Look at a post and answer it somehow."""
        message_id = handler.headers["webhook-id"]
        signed = f"{message_id}.{handler.headers['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
        genuine = handler.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        with self.changed:
            self.bodies.setdefault(message_id, set()).add(body)
            self.forged += [] if genuine else [message_id]
            self._tries[message_id] += 1
            sure = self.healthy or self._tries[message_id] > self.MOST_FAILURES
            way = "accept" if sure else self._dice.choice(self.WAYS)
        if way == "delay":
            self.round_over.wait(PATIENCE_S)
        if way in {"drop", "lose answer", "delay"}:
            handler.close_connection = True
            return
        handler.send_response({"accept": 204, "refuse": 500, "busy": 503}[way])
        if way == "busy":
            handler.send_header("retry-after", "0")
        handler.end_headers()
        with self.changed:
            self.accepted |= {message_id} if way == "accept" else set()
            self.changed.notify_all()

    def has(self, ids):
        """Wait until these were accepted; what is still missing."""
        with self.changed:
            self.changed.wait_for(lambda: ids <= self.accepted, PATIENCE_S)
            return ids - self.accepted

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.round_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


async def place_calls(daemon, voice, name, placed):
    """One call after the other, each as fast as the daemon takes it, until the daemon is gone."""
    with suppress(OSError, WebSocketException):
        while True:
            call_id = f"{name}-{len(placed)}"
            placed.add(call_id)
            hello = {"sample_rate": 16000, "encoding": "pcm_s16le", "channels": 1, "call_id": call_id}
            async with connect(daemon.ws("/ws/ingest"), max_size=2**24) as socket:
                await socket.send(json.dumps(hello))
                await socket.send(voice)
                await socket.send('{"type":"end"}')
                async for _ in socket:
                    pass


async def watch(daemon, seen, enough, connected):
    """Note every alert that is published; kill the daemon in the middle of the one after ``enough``."""
    with suppress(OSError, WebSocketException):
        async with connect(daemon.ws("/ws/events?types=snapshot,alert.raised,alert.resolved")) as socket:
            async for text in socket:
                connected.set()
                event = decode(text)
                if isinstance(event, AlertRaised | AlertResolved):
                    seen[f"{event.alert_id}.{event.type.removeprefix('alert.')}"] = event.call_id
                    enough -= 1
                if enough == 0:
                    daemon.process.kill()
    daemon.process.kill()


async def one_life(daemon, voice, enough, *, seen, placed):
    """Callers and a subscriber of a daemon, until it is killed."""
    connected = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(watch(daemon, seen, enough, connected))
        await connected.wait()
        for caller in range(CALLERS):
            group.create_task(place_calls(daemon, voice, f"{daemon.process.pid}-{caller}", placed))
    assert await asyncio.to_thread(daemon.process.wait, 30) == -9


@pytest.mark.timeout(240 + 60 * ROUNDS)
async def test_no_alert_is_lost_and_none_made_up(tmp_path, voice):
    """Every alert that a subscriber saw reaches the receiver; what comes twice has the same id and bytes.

    Whatever reaches it is signed, was raised by a call of ours and stands in the database.
    """
    seed = random.randrange(2**32)
    dice, seen, placed = random.Random(seed), {}, set()
    with Receiver(dice) as receiver:
        hook = {
            "url": receiver.url,
            "secret": SECRET,
            "allow_private": True,
            "timeout_s": 0.5,
            "first_retry_s": 0.02,
        }
        settings = {"decision": RAISE_ALWAYS, "alerts": {"webhooks": [{**hook, "max_attempts": 20}]}}
        for _ in range(ROUNDS):
            receiver.round_over.clear()
            with running(tmp_path, **settings) as daemon:
                await one_life(daemon, voice, dice.randint(1, 15), seen=seen, placed=placed)
            receiver.round_over.set()
        receiver.healthy = True
        with running(tmp_path, **settings) as daemon:
            lost = await asyncio.to_thread(receiver.has, set(seen))
            assert daemon.stop() == 0

    assert lost == set(), f"seed {seed}"
    assert receiver.forged == [], f"seed {seed}"
    assert {len(bodies) for bodies in receiver.bodies.values()} == {1}, f"seed {seed}"
    told = {json.loads(body)["data"]["call_id"] for bodies in receiver.bodies.values() for body in bodies}
    assert told <= placed, f"seed {seed}"
    assert len(seen) >= ROUNDS
    with closing(sqlite3.connect(tmp_path / "alerts.db")) as ledger:
        raised, resolved, unknown = (
            {alert_id for (alert_id,) in ledger.execute(f"SELECT alert_id FROM message {where}")}
            for where in (
                "WHERE type = 'alert.raised'",
                "WHERE type = 'alert.resolved'",
                "WHERE id IN (SELECT message FROM delivery WHERE state = 'dead')",
            )
        )
        written = {message_id for (message_id,) in ledger.execute("SELECT message_id FROM message")}
    assert raised == resolved, f"seed {seed}: every alert is resolved, at the latest by the next daemon"
    assert unknown == set(), f"seed {seed}: nothing was given up"
    assert set(receiver.bodies) <= written, f"seed {seed}: nothing was delivered that was not written down"
