import asyncio
import socket
import struct
import uuid
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pydantic import ValidationError

from fac_stream.config_systems import AudioSocket
from fac_stream.errors import FacError
from fac_stream.listeners.audiosocket import AudioSocketListener, Connection
from tests.peers.audiosocket import packet, place_call
from tests.server.serving import serving, voice

CALL = "40325ec2-5efd-4bd3-805f-53576e581d13"
OTHER = "7b1d0c1e-0000-4000-8000-000000000001"
HANGUP = bytes(3)
ID = packet(0x01, uuid.UUID(CALL).bytes)


@asynccontextmanager
async def listening(folder, *, ingest=None, **settings):
    """The listener on a free port, with calls behind it."""
    async with serving(folder, ingest=ingest or {}) as served:
        listener = AudioSocketListener(
            AudioSocket.model_validate({"port": 0, **settings}), served.services.intake
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(listener.run())
            async with asyncio.timeout(30):
                while listener.address is None:  # noqa: ASYNC110 - nobody else waits for that
                    await asyncio.sleep(0)
            try:
                yield served, listener
            finally:
                task.cancel()


class Peer:
    """A bare connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, *parts):
        """Write bytes."""
        self.writer.writelines(parts)

    def reset(self):
        """Vanish: the other side gets a reset instead of an end."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def rest(self):
        """All that still comes, until the connection is closed."""
        async with asyncio.timeout(60):
            return await self.reader.read()


@asynccontextmanager
async def connected(listener):
    """A connection to the listener."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def looked_up(answer):
    """An HTTP server that ``answer(uuid)`` speaks for; gives its URL."""

    async def handle(request):
        return answer(request.query["uuid"])

    app = web.Application()
    app.router.add_get("/calls", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/calls"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_a_connection_is_a_call(tmp_path, says_goodbye):
    """Audio is scored under the UUID; either end of the connection completes the call, which is hung up."""
    async with listening(tmp_path, leg="caller") as (served, listener):
        back = await place_call(
            listener.address, voice(0.9, 4), CALL, pace=0, kind=0x12, says_goodbye=says_goodbye
        )
        ended = await served.first("call.ended")
        (started,) = served.of("call.started")
        assert (started.call_id, started.source, started.legs) == (CALL, "audiosocket", ["caller"])
        assert (ended.reason, ended.duration_s) == ("completed", 4.0)
        assert [e.score for e in served.of("window.scored")] == [pytest.approx(0.9, abs=0.01)] * 5
        assert back == (HANGUP if says_goodbye else b"")


@pytest.mark.parametrize(("kind", "rate"), [(0x10, 8_000), (0x13, 24_000), (0x16, 48_000)])
async def test_the_type_says_the_rate(tmp_path, kind, rate):
    """The same voice at any rate gets the same score."""
    async with listening(tmp_path) as (served, listener):
        await place_call(listener.address, voice(0.5, 3), CALL, pace=0, kind=kind)
        await served.first("call.ended")
        assert served.of("call.started")[0].sample_rate == rate
        assert [e.score for e in served.of("window.scored")] == [pytest.approx(0.5, abs=0.01)] * 3


async def test_a_configured_type_has_another_rate(tmp_path):
    """An Asterisk that means 16 kHz by 0x11 is understood once the configuration says so."""
    async with listening(tmp_path, rates={0x11: 16_000}) as (served, listener), connected(listener) as peer:
        peer.send(ID, packet(0x11, voice(0.5, 1)), HANGUP)
        ended = await served.first("call.ended")
        assert (served.of("call.started")[0].sample_rate, ended.duration_s) == (16_000, 1.0)


async def test_bytes_may_come_one_by_one(tmp_path):
    """TCP keeps no packets together."""
    async with listening(tmp_path) as (served, listener), connected(listener) as peer:
        for byte in ID + packet(0x10, bytes(range(40))) + HANGUP:
            peer.send(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert (await served.first("call.ended")).duration_s == 20 / 8000
        assert await peer.rest() == HANGUP


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", packet(0x10, b"\0\0"), b"\x01\x00\x0f" + bytes(15)]
)
async def test_whoever_speaks_something_else_is_hung_up(tmp_path, sent):
    """It gets the packet that ends a connection, and brings no call."""
    async with listening(tmp_path) as (served, listener), connected(listener) as peer:
        peer.send(sent)
        assert await peer.rest() == HANGUP
        assert served.events == []


async def test_a_broken_call_ends_alone(tmp_path):
    """Half a sample ends that call with its reason; another goes on."""
    async with (
        listening(tmp_path) as (served, listener),
        connected(listener) as good,
        connected(listener) as bad,
    ):
        good.send(packet(0x01, uuid.UUID(OTHER).bytes), packet(0x10, bytes(320)))
        bad.send(ID, packet(0x10, bytes(320)), packet(0x10, bytes(3)))
        assert await bad.rest() == HANGUP
        ended = await served.first("call.ended")
        assert (ended.call_id, ended.reason) == (CALL, "protocol_error")
        assert "16-bit sample" in ended.detail
        good.send(HANGUP)
        assert await good.rest() == HANGUP
        assert {e.call_id: e.reason for e in served.of("call.ended")}[OTHER] == "completed"


async def test_unknown_uuids_are_refused_where_a_list_is_configured(tmp_path):
    """Who is not on the list is hung up before any of its audio is looked at."""
    async with listening(tmp_path, calls=[CALL.upper()]) as (served, listener):
        async with connected(listener) as peer:
            peer.send(packet(0x01, uuid.UUID(OTHER).bytes), packet(0x10, bytes(320)))
            assert await peer.rest() == HANGUP
        await place_call(listener.address, voice(0.5, 1), CALL, pace=0)
        await served.first("call.ended")
        assert [e.call_id for e in served.of("call.started")] == [CALL]


async def test_somebody_else_may_know_the_uuids(tmp_path):
    """2xx takes the call, with the answer as its metadata; anything else refuses it."""

    def answer(asked):
        if asked == CALL:
            return web.json_response({"caller": "+4930123456", "queue": "claims"})
        return web.Response(status=404)

    async with (
        looked_up(answer) as url,
        listening(tmp_path, lookup_url=url) as (served, listener),
        connected(listener) as peer,
    ):
        await place_call(listener.address, voice(0.5, 1), CALL, pace=0)
        peer.send(packet(0x01, uuid.UUID(OTHER).bytes), packet(0x10, bytes(320)))
        assert await peer.rest() == HANGUP
        await served.first("call.ended")
        (started,) = served.of("call.started")
        assert started.metadata == {"caller": "+4930123456", "queue": "claims"}
        assert listener.problem is None


@pytest.mark.parametrize("body", ["", "[1]", "no JSON", "{" * 100_000])
async def test_an_answer_that_says_nothing_takes_the_call_all_the_same(tmp_path, body):
    """The status decides; metadata is extra."""
    async with (
        looked_up(lambda _: web.Response(text=body)) as url,
        listening(tmp_path, lookup_url=url) as (served, listener),
    ):
        await place_call(listener.address, voice(0.5, 1), CALL, pace=0)
        await served.first("call.ended")
        assert served.of("call.started")[0].metadata == {}


async def test_nobody_to_ask_refuses_and_is_told(tmp_path):
    """A lookup that fails turns calls away and shows in the health, until it works again."""
    status = 500
    async with (
        looked_up(lambda _: web.Response(status=status)) as url,
        listening(tmp_path, lookup_url=url, calls=[OTHER]) as (served, listener),
    ):
        async with connected(listener) as peer:
            peer.send(ID)
            assert await peer.rest() == HANGUP
        assert "status 500" in listener.problem
        await place_call(listener.address, voice(0.5, 1), OTHER, pace=0)  # on the list: nobody is asked
        status = 204
        await place_call(listener.address, voice(0.5, 1), CALL, pace=0)
        assert listener.problem is None
        await served.first("call.ended")
        assert [e.call_id for e in served.of("call.started")] == [OTHER, CALL]


async def test_a_lookup_that_cannot_be_reached_refuses(tmp_path):
    """No call is taken because somebody is down."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with (
        listening(tmp_path, lookup_url=f"http://127.0.0.1:{port}/") as (_, listener),
        connected(listener) as peer,
    ):
        peer.send(ID)
        assert await peer.rest() == HANGUP
        assert "lookup_url does not answer" in listener.problem


async def test_no_more_calls_than_allowed(tmp_path):
    """The second of one allowed call is hung up; the first goes on."""
    async with (
        listening(tmp_path, ingest={"max_calls": 1}) as (served, listener),
        connected(listener) as first,
        connected(listener) as second,
    ):
        first.send(ID, packet(0x10, bytes(320)))
        await served.first("call.started")
        second.send(packet(0x01, uuid.UUID(OTHER).bytes), packet(0x10, bytes(320)))
        assert await second.rest() == HANGUP
        first.send(HANGUP)
        assert (await served.first("call.ended")).reason == "completed"


async def test_no_more_of_one_host_than_allowed(tmp_path):
    """Its second connection is hung up before it says anything; the first goes on."""
    async with listening(tmp_path, max_per_host=1) as (served, listener), connected(listener) as first:
        first.send(ID, packet(0x10, bytes(320)))
        await served.first("call.started")
        async with connected(listener) as second:
            assert await second.rest() == HANGUP
        first.send(HANGUP)
        assert (await served.first("call.ended")).reason == "completed"


async def test_a_uuid_is_one_call_at_a_time(tmp_path, monkeypatch):
    """A second connection with the UUID of a call that goes on is hung up."""
    monkeypatch.setattr("fac_stream.calls.intake.STALLED_S", 600.0)
    async with (
        listening(tmp_path) as (served, listener),
        connected(listener) as first,
        connected(listener) as second,
    ):
        first.send(ID, packet(0x10, bytes(320)))
        await served.first("call.started")
        second.send(ID, packet(0x10, bytes(320)))
        assert await second.rest() == HANGUP
        first.send(HANGUP)
        assert (await served.first("call.ended")).duration_s == 0.02


async def test_a_lost_connection_may_come_back(tmp_path):
    """A reset is no end: the same UUID goes on with the call, after a gap."""
    async with listening(tmp_path) as (served, listener):
        async with connected(listener) as peer:
            peer.send(ID, packet(0x10, bytes(16_000)))
            await served.first("call.started")
            peer.reset()
        # Until the daemon has noticed the reset, the UUID is in use.
        while not served.of("call.ended"):
            async with connected(listener) as peer:
                peer.send(ID, packet(0x10, bytes(16_000)), HANGUP)
                await peer.rest()
        ended = await served.first("call.ended")
        assert len(served.of("call.started")) == 1
        assert (ended.reason, ended.duration_s >= 2.0) == ("completed", True)


async def test_an_error_of_asterisk_loses_the_call(tmp_path):
    """It says what Asterisk said."""
    async with (
        listening(tmp_path, ingest={"reconnect_s": 0}) as (served, listener),
        connected(listener) as peer,
    ):
        peer.send(ID, packet(0x10, bytes(320)), packet(0xFF, b"\x02"))
        ended = await served.first("call.ended")
        assert (ended.reason, ended.detail) == ("source_lost", "Asterisk reports error 02")


async def test_a_silent_call_is_hung_up(tmp_path):
    """A channel that sends nothing any more does not hold its place for ever."""
    async with (
        listening(tmp_path, ingest={"idle_timeout_s": 0.2}) as (served, listener),
        connected(listener) as peer,
    ):
        peer.send(ID, packet(0x10, bytes(320)))
        assert await peer.rest() == HANGUP
        assert (await served.first("call.ended")).reason == "idle"


async def test_only_named_networks_may_connect(tmp_path):
    """AudioSocket knows no password: others are turned away at once."""
    async with (
        listening(tmp_path, allow=["192.0.2.0/24"]) as (served, listener),
        connected(listener) as peer,
    ):
        assert await peer.rest() == HANGUP
        assert served.events == []


async def test_a_port_that_is_taken_is_told(tmp_path):
    """The message names the setting."""
    async with serving(tmp_path) as served:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = AudioSocket(port=taken.getsockname()[1])
            with pytest.raises(ExceptionGroup) as failed:
                await AudioSocketListener(settings, served.services.intake).run()
    (error,) = failed.value.exceptions
    assert isinstance(error, FacError)
    assert "listeners.audiosocket.port" in str(error)


async def test_a_daemon_that_stops_hangs_up(tmp_path):
    """Asterisk hears it in the protocol's words; the call did not complete."""
    async with listening(tmp_path) as (served, listener), connected(listener) as peer:
        peer.send(ID, packet(0x10, bytes(320)))
        await served.first("call.started")
        await served.services.intake.stop()
        assert await peer.rest() == HANGUP
        assert (await served.first("call.ended")).reason == "shutdown"


@pytest.mark.parametrize(
    "settings",
    [{"calls": ["no uuid"]}, {"rates": {0x09: 8000}}, {"rates": {0x11: 1}}, {"lookup_url": "ftp://x"}],
)
def test_settings_are_checked(settings):
    """What cannot be meant is refused when the configuration is read."""
    with pytest.raises(ValidationError):
        AudioSocket.model_validate(settings)


class GoneTransport(asyncio.Transport):
    """Of a connection that is gone by the time it is served."""

    closed = False

    def get_extra_info(self, name, default=None):
        """Nobody knows."""

    def is_closing(self):
        """Whether it was closed."""
        return self.closed

    def write(self, data):
        """Nobody reads it."""

    def close(self):
        """Close it."""
        self.closed = True


async def test_who_is_gone_at_once_is_hung_up(tmp_path):
    """Such a connection has no peer any more."""
    async with listening(tmp_path) as (_, listener):
        transport = GoneTransport()
        Connection(listener).connection_made(transport)
    assert transport.closed
