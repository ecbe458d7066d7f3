"""Lives of a recorder on one file, and the events of calls."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

from fac_stream.bus import Bus
from fac_stream.config_storage import History
from fac_stream.events import AlertRaised, CallEnded, CallStarted, LegSummary, WindowScored
from fac_stream.history import searches
from fac_stream.history.numbers import Hashes
from fac_stream.history.recorder import Recorder
from fac_stream.history.schema import MIGRATIONS
from fac_stream.history.searches import Search
from fac_stream.storage.database import Database


class House:
    """A recorder on a file, and a bus before it."""

    def __init__(self, path, **settings):
        self.bus, self.deleted = Bus(), []
        self.settings = History(**settings)
        self.database = Database(path, MIGRATIONS, erases=True)
        self.hashes = Hashes(path.with_name("history.key"))
        self.recorder = Recorder(self.bus, self.database, self.settings, self.hashes, "m@1")
        self.bus.listen(lambda it: self.deleted.append(it.call_id) if it.type == "call.deleted" else None)

    def call(self, call_id="c", *, end=True, windows=(), metadata=None, decision="human"):
        """A call from its start to its end."""
        self.bus.publish(started(call_id, metadata))
        for window in windows:
            self.bus.publish(window.model_copy(update={"call_id": call_id}))
        if end:
            self.bus.publish(ended(call_id, decision))

    async def find(self, limit=500, **search):
        """A page of what the history has."""
        await self.recorder.write()
        return await self.recorder.ask(partial(searches.find, Search(**search), self.hashes, limit))

    async def details(self, call_id="c", most=10_000):
        """The calls of an id."""
        await self.recorder.write()
        return await self.recorder.ask(partial(searches.details, call_id, most))

    async def until(self, true):
        """Let the recorder work until this holds."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - it yields, it does not wait
                await asyncio.sleep(0)  # a turn of the loop for the others


@asynccontextmanager
async def living(path, **settings):
    """A recorder that ends as a crash does: nothing is written at the end."""
    house = House(path, **settings)
    try:
        yield house
    finally:
        house.recorder.close()
        await asyncio.to_thread(house.database._thread._thread.join, 20)


def started(call_id="c", metadata=None):
    """A call was accepted."""
    return CallStarted(
        call_id=call_id,
        source="websocket",
        legs=["caller"],
        sample_rate=8000,
        encoding="mulaw",
        metadata=metadata or {},
    )


def window(index=0, score=0.5, leg="caller", decision="unknown", call_id="c"):
    """A window every half second."""
    return WindowScored(
        call_id=call_id,
        leg=leg,
        index=index,
        start_s=index / 2,
        end_s=index / 2 + 2,
        score=score,
        skipped=None if score is not None else "no_speech",
        smoothed=score,
        speech_s=1.0,
        decision=decision,
        model="m@1",
    )


def ended(call_id="c", decision="human", reason="completed", leg="caller"):
    """A call is over."""
    summary = LegSummary(
        leg=leg,
        decision=decision,
        worst_decision=decision,
        smoothed=0.4,
        last_score=0.3,
        peak_score=0.6,
        windows=7,
        scored=6,
        speech_s=3.5,
        level_dbfs=-30.0,
        quality=["quiet"],
    )
    return CallEnded(call_id=call_id, reason=reason, duration_s=12.5, lost_s=0.5, legs=[summary])


def raised(alert_id="a", call_id="c", leg="caller", **fields):
    """An alert was raised."""
    known = {
        "call_id": call_id,
        "leg": leg,
        "alert_id": alert_id,
        "rule": "synthetic-voice",
        "severity": "critical",
        "summary": "…",
        "at_s": 7.0,
        "smoothed": 0.9,
        "speech_s": 5.0,
        "model": "m@1",
    }
    return AlertRaised(**(known | fields))
