"""The server on a free port, with a fake scorer behind it and everything else real."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from aiohttp import ClientSession
from websockets.asyncio.client import connect

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_stream.alerts.desk import Desk
from fac_stream.alerts.ledger import MIGRATIONS
from fac_stream.alerts.rules import Rules
from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from fac_stream.bus import Bus
from fac_stream.calls.intake import Intake
from fac_stream.calls.registry import Calls
from fac_stream.config import Config
from fac_stream.history.records import Records
from fac_stream.metrics import Metrics
from fac_stream.scoring.batcher import Batcher
from fac_stream.server.app import build, listen
from fac_stream.server.services import Services
from fac_stream.storage.database import Database
from tests.fakes import FakeGate, FakeScorer, scored_at

EER = {"value": 0.2, "low": 0.15, "high": 0.26}
PLOT = b"\x89PNG\r\n\x1a\n a plot"
HELLO = {"sample_rate": 16_000, "encoding": "pcm_s16le", "channels": 1}


class Http:
    """A client whose answers are read to their end, so that none is left open."""

    def __init__(self, session):
        self._session = session

    async def request(self, method, path, **options):
        """Ask, and read the answer."""
        response = await self._session.request(method, path, **options)
        await response.read()
        return response

    async def get(self, path, **options):
        """GET."""
        return await self.request("GET", path, **options)

    async def post(self, path, **options):
        """POST."""
        return await self.request("POST", path, **options)

    async def options(self, path, **options):
        """OPTIONS."""
        return await self.request("OPTIONS", path, **options)


@dataclass
class Served:
    """A running server."""

    url: str
    services: Services
    http: Http
    events: list
    changed: asyncio.Event
    """Set with every event."""

    def connect(self, path, **options):
        """A WebSocket by an independent implementation."""
        address = self.url.replace("http", "ws", 1) + path.lstrip("/")
        return connect(address, proxy=None, ping_interval=None, **options)

    @property
    def address(self):
        """Host and port for a bare socket."""
        host, port = self.url.split("/")[2].split(":")
        return host, int(port)

    def of(self, kind):
        """Published events of a type."""
        return [event for event in self.events if event.type == kind]

    async def first(self, kind):
        """The first published event of a type, once it is there."""
        async with asyncio.timeout(60):
            while not self.of(kind):
                self.changed.clear()
                await self.changed.wait()
        return self.of(kind)[0]


@asynccontextmanager
async def serving(folder, *, scorer=None, loaded=True, health=None, database=None, **sections):
    """Serve these sections of the configuration while the block runs."""
    sections["server"] = {"port": 0, **sections.get("server", {})}
    sections["history"] = {"database": None, "audit": None, **sections.get("history", {})}
    config = Config.model_validate(sections)
    scorer = scorer or FakeScorer()
    bus, metrics = Bus(), Metrics()
    events, changed = [], asyncio.Event()
    bus.listen(events.append)
    bus.listen(lambda _: changed.set())
    bus.listen(metrics.on_event)
    batcher = Batcher(scorer, FakeGate(), config.speech, config.batching, metrics.on_batch)
    calls = Calls(config, bus, batcher, scorer)
    records = Records(bus, config, scorer.model)
    desk = Desk(bus, Database(database, MIGRATIONS), [], Rules(config.alerts.rules))
    services = Services(
        config=config,
        bus=bus,
        calls=calls,
        intake=Intake(config.ingest, calls, bus),
        batcher=batcher,
        scorer=scorer if loaded else None,
        bundle=bundle(folder) if loaded else None,
        metrics=metrics,
        desk=desk,
        health=lambda: health or {"status": "ok"},
        recorder=records.recorder,
    )
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(part.run()) for part in (batcher, services.intake, desk, records)]
        try:
            async with listen(build(services), config.server) as url, ClientSession(url) as session:
                yield Served(url, services, Http(session), events, changed)
        finally:
            for task in running:
                task.cancel()
            desk.close()
            records.close()


def bundle(folder):
    """A bundle with a plot, an accuracy and no use."""
    return Bundle.save(
        folder / "bundle",
        name="fake",
        version="1.2",
        front_end=FrontEndConfig(),
        network=NetworkConfig(),
        calibration=Calibration(),
        tensors={"weight": np.zeros(1, np.float32)},
        metrics={"accuracy": 0.93, "conditions": {"wideband": {"clip_over_sources": {"eer": EER}}}},
        files={"plots/roc.png": PLOT},
    )


def voice(score, seconds, rate=16_000):
    """``pcm_s16le`` bytes that the fake scorer scores so."""
    return encode(scored_at(score, seconds, rate).reshape(-1, 1), Encoding.PCM_S16LE)


async def hello(socket, **fields):
    """Say hello; returns the answer."""
    await socket.send(json.dumps(HELLO | fields))
    return await answer(socket)


async def answer(socket):
    """The next message."""
    async with asyncio.timeout(30):
        return json.loads(await socket.recv())
