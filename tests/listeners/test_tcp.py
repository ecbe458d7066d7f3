import asyncio
import errno
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from fac_stream.bus import Bus
from fac_stream.calls.intake import Intake
from fac_stream.calls.registry import Calls
from fac_stream.config import Config
from fac_stream.config_systems import PcmTcp
from fac_stream.errors import FacError
from fac_stream.events import EndReason
from fac_stream.listeners.tcp import TcpListener
from fac_stream.scoring.batcher import Batcher
from tests.fakes import FakeGate, FakeScorer, scored_at
from tests.peers.tcp import place_call


class House:
    """A listener, and what it brings."""

    def __init__(self, listener, events, changed):
        self.listener = listener
        self.events = events
        self._changed = changed

    async def until(self, kind, count=1):
        """The events of a type, once there are ``count``."""
        async with asyncio.timeout(60):
            while len(found := [event for event in self.events if event.type == kind]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found


@asynccontextmanager
async def listening(ingest=None, **settings):
    """A listener on a free port."""
    config, bus, events, changed = Config(ingest=ingest or {}), Bus(), [], asyncio.Event()
    bus.listen(events.append)
    bus.listen(lambda _: changed.set())
    batcher = Batcher(FakeScorer(), FakeGate(), config.speech, config.batching)
    intake = Intake(config.ingest, Calls(config, bus, batcher, FakeScorer()), bus)
    listener = TcpListener(PcmTcp(**{"port": 0, **settings}), intake)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part.run()) for part in (batcher, intake, listener)]
        async with asyncio.timeout(30):
            while listener.address is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        try:
            yield House(listener, events, changed)
        finally:
            await intake.stop()
            for task in tasks:
                task.cancel()


def pcm(score, seconds):
    """``pcm_s16le`` that the fake scorer scores so."""
    return np.round(scored_at(score, seconds) * 32767).astype("<i2").tobytes()


async def connected(house):
    """A bare connection."""
    host, _, port = house.listener.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_connection_is_a_call():
    """From the first byte to the closed connection: scored, completed, with the peer's address."""
    async with listening() as house:
        await place_call(house.listener.address, pcm(0.9, 4.0), pace=0)
        [started] = await house.until("call.started")
        [ended] = await house.until("call.ended")

    assert (started.source, started.metadata) == ("tcp", {"address": "127.0.0.1"})
    assert (ended.reason, ended.duration_s) == (EndReason.COMPLETED, 4.0)
    assert ended.legs[0].peak_score == pytest.approx(0.9, abs=0.02)


async def test_connections_do_not_mix():
    """Two at once are two calls with their own scores."""
    async with listening() as house:
        async with asyncio.TaskGroup() as group:
            for score in (0.1, 0.9):
                group.create_task(place_call(house.listener.address, pcm(score, 3.0), pace=0))
        ended = await house.until("call.ended", 2)

    assert sorted(round(event.legs[0].last_score, 1) for event in ended) == [0.1, 0.9]


async def test_a_probe_is_no_call():
    """Who connects and leaves without a byte starts nothing."""
    async with listening() as house:
        reader, writer = await connected(house)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    assert house.events == []


async def test_half_a_sample_is_told():
    """The call ends as a broken protocol, and the connection is closed."""
    async with listening() as house:
        reader, writer = await connected(house)
        writer.write(bytes(3201))
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        [ended] = await house.until("call.ended")

    assert ended.reason is EndReason.PROTOCOL_ERROR
    assert "inside a sample" in ended.detail


async def test_a_reset_is_a_loss():
    """A connection that breaks ends its call as lost: nobody can continue it without a name."""
    async with listening() as house:
        _, writer = await connected(house)
        writer.write(pcm(0.5, 0.5))
        await house.until("call.started")
        writer.transport.abort()
        [ended] = await house.until("call.ended")

    assert ended.reason in {EndReason.SOURCE_LOST, EndReason.COMPLETED}


async def test_a_full_daemon_closes_the_connection():
    """Raw PCM has no words for it."""
    async with listening(ingest={"max_calls": 1}) as house:
        _, first = await connected(house)
        first.write(pcm(0.5, 0.5))
        await house.until("call.started")
        reader, second = await connected(house)
        second.write(pcm(0.5, 0.5))
        with suppress(ConnectionError):
            assert await reader.read() == b""
        first.close()
        second.close()

    assert len([event for event in house.events if event.type == "call.started"]) == 1


async def test_no_more_of_one_host_than_allowed():
    """Its second connection is closed at once; the first goes on."""
    async with listening(max_per_host=1) as house:
        _, writer = await connected(house)
        writer.write(pcm(0.5, 1.0))
        await house.until("call.started")
        reader, refused = await connected(house)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        refused.close()
        writer.close()
        [ended] = await house.until("call.ended")
    assert ended.reason is EndReason.COMPLETED


async def test_strangers_are_turned_away():
    """An address outside ``allow`` gets no byte in."""
    async with listening(allow=["192.0.2.0/24"]) as house:
        reader, writer = await connected(house)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    assert house.events == []


async def test_a_silent_connection_is_closed(monkeypatch):
    """A place is not held for ever by who says nothing."""
    monkeypatch.setattr("fac_stream.listeners.tcp.FIRST_BYTE_S", 0.01)
    async with listening() as house:
        reader, writer = await connected(house)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()


async def test_an_idle_call_is_closed():
    """The call's own idle time ends the connection, too."""
    async with listening(ingest={"idle_timeout_s": 0.05}) as house:
        reader, writer = await connected(house)
        writer.write(pcm(0.5, 0.5))
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        [ended] = await house.until("call.ended")

    assert ended.reason is EndReason.IDLE


async def test_a_taken_port_is_told():
    """Which setting to change stands in the error."""
    async with listening() as house:
        port = int(house.listener.address.rpartition(":")[2])
        with pytest.RaisesGroup(pytest.RaisesExc(FacError, match="listeners.tcp.port")):
            await TcpListener(PcmTcp(port=port), None).run()


class GoneWriter:
    """Of a connection whose network is gone."""

    def get_extra_info(self, name):
        """Nobody knows."""

    def close(self):
        """Nothing is left to close."""

    async def wait_closed(self):
        """Tell why."""
        raise OSError(errno.EHOSTUNREACH, "no route to host")


async def test_a_network_that_goes_away_ends_its_call_only():
    """Such errors are no ConnectionError; in the listener's group one would end the daemon."""
    reader = asyncio.StreamReader()
    reader.feed_data(pcm(0.9, 0.5))
    async with listening(ingest={"idle_timeout_s": 30}) as house:
        serving = asyncio.ensure_future(house.listener._serve(reader, GoneWriter(), "192.0.2.1"))
        await house.until("call.started")
        reader.set_exception(OSError(errno.EHOSTUNREACH, "no route to host"))
        [ended] = await house.until("call.ended")
        await serving
    assert ended.reason is EndReason.SOURCE_LOST
