"""A program: writers of alerts that are killed at random points, and a check of what they left.

Each round forks a writer that records alerts in a real ledger and names each one on a pipe once it is
recorded; the parent reads some of the names and kills it with SIGKILL. Writes a line of JSON.

    python killing.py FILE ROUNDS SEED
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from fac_stream.alerts.ledger import MIGRATIONS, Ledger, Standing
from fac_stream.alerts.message import Message, Receiver
from fac_stream.config_hooks import Webhook
from fac_stream.events import AlertRaised
from fac_stream.storage.database import Database

SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
RECEIVERS = [Receiver.of(Webhook(url=f"http://127.0.0.1:9/{name}", secret=SECRET)) for name in "ab"]
MOST = 25
"""Names that are read of a writer at most."""


def message(alert_id):
    """The message of an alert."""
    return Message.of(
        AlertRaised(
            call_id="c",
            leg="caller",
            alert_id=alert_id,
            rule="r",
            severity="critical",
            summary="…",
            at_s=1.0,
            smoothed=0.9,
            speech_s=1.0,
            model="m",
        )
    )


async def write(path, prefix, pipe):
    """Record alerts for ever, settling some; each is named on the pipe once the disk has it."""
    ledger = Ledger(Database(path, MIGRATIONS), RECEIVERS, lambda receiver, found: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(ledger.run())
        for number in itertools.count():
            pair = [message(f"{prefix}-{number}-{half}") for half in "xy"]
            assert await ledger.record(pair), ledger.problem
            os.write(pipe, f"{pair[0].message_id} {pair[1].message_id}\n".encode())
            ledger.note(RECEIVERS[0], Standing(pair[0].message_id, "delivered", 1, 0.0, "HTTP 204"))


def one_round(path, prefix, names):
    """Fork a writer, kill it after so many names, give all names that it had written."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        asyncio.run(write(path, prefix, writer))
    os.close(writer)
    with os.fdopen(reader) as lines:
        recorded = [line for _, line in zip(range(names), lines, strict=False)]
        os.kill(child, signal.SIGKILL)
        recorded += lines
    os.waitpid(child, 0)
    return [name for line in recorded if line.endswith("\n") for name in line.split()]


def check(path, recorded):
    """What is wrong with the file, in words."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        deliveries = dict(
            connection.execute(
                "SELECT message_id, count(hook) FROM message LEFT JOIN delivery ON id = message"
                " WHERE type = 'alert.raised' GROUP BY id"
            )
        )
    lost = [name for name in recorded if name not in deliveries]
    torn = [name for name, count in deliveries.items() if count != len(RECEIVERS)]
    halves = {name.removesuffix(".raised")[:-1] for name in deliveries}
    torn += [half for half in halves if not {f"{half}x.raised", f"{half}y.raised"} <= set(deliveries)]
    return lost, torn


def main(path, rounds, seed):
    """Run all rounds on one file."""
    dice = random.Random(seed)
    recorded = []
    for number in range(rounds):
        recorded += one_round(path, f"r{number}", dice.randint(0, MOST))
    lost, torn = check(path, recorded)
    json.dump({"recorded": len(recorded), "lost": lost, "torn": torn}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
