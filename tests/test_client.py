"""The subscriber against a server made with another library's hands: plain `websockets`."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from fac_stream import client
from fac_stream.client import events_address, subscribe
from fac_stream.errors import FacError, ProtocolError
from fac_stream.events import CallStarted, CallSummary, Snapshot, encode

SNAPSHOT = Snapshot(
    model="m@0", device="cpu", hop_s=0.5, raise_at=0.9, suspect_at=0.7, clear_at=0.5, calls=[]
)
STARTED = CallStarted(call_id="a", source="file", legs=["mixed"], sample_rate=8000, encoding="pcm_s16le")

CALL = CallSummary(
    call_id="a",
    source="file",
    started_at="2026-01-01T00:00:00Z",
    ended_at=None,
    end_reason=None,
    duration_s=1.0,
    sample_rate=8000,
    encoding="mulaw",
    metadata={},
    legs=[],
    alerts=[],
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Reconnects follow at once."""
    monkeypatch.setattr(client, "FIRST_RETRY_S", 0.0)


@asynccontextmanager
async def daemon(handler, **options):
    """A server on a free port; yields its address."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/events"


async def read(stream, count):
    """So many events, and then no more."""
    events = []
    async with asyncio.timeout(20):
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    await stream.aclose()
    return events


async def test_events_arrive_as_the_daemon_sent_them():
    """What the daemon encodes is what the subscriber gets, in order."""

    async def handler(connection):
        await connection.send(encode(SNAPSHOT))
        await connection.send(encode(STARTED))
        await connection.wait_closed()

    async with daemon(handler) as url:
        assert await read(subscribe(url), 2) == [SNAPSHOT, STARTED]


async def test_a_lost_connection_is_made_again_and_starts_with_a_snapshot():
    """A daemon that closes, for whatever reason, is asked again, and the loss is told."""
    closes = iter([(4008, "too slow"), (1001, "going away"), (1011, "")])

    async def handler(connection):
        await connection.send(encode(SNAPSHOT))
        if (close := next(closes, None)) is not None:
            await connection.close(*close)
        else:
            await connection.wait_closed()

    lost = []
    async with daemon(handler) as url:
        events = await read(subscribe(url, on_lost=lambda reason, pause_s: lost.append(reason)), 4)

    assert events == [SNAPSHOT] * 4
    assert len(lost) == 3
    assert lost[0] == "closed by the daemon: 4008 too slow"


async def test_a_daemon_that_is_not_there_yet_is_waited_for():
    """The subscriber may be started first."""
    lost = asyncio.Event()

    async def handler(connection):
        await connection.send(encode(SNAPSHOT))
        await connection.wait_closed()

    async with daemon(handler) as url:
        pass
    port = int(url.split(":")[2].split("/")[0])
    stream = subscribe(url, on_lost=lambda reason, pause_s: lost.set())
    async with asyncio.TaskGroup() as group:
        first = group.create_task(read(stream, 1))
        async with asyncio.timeout(20):
            await lost.wait()
        async with serve(handler, "127.0.0.1", port):
            assert await first == [SNAPSHOT]


async def test_filters_and_token_are_sent():
    """Types, call id and token reach the daemon."""
    requests = []

    async def handler(connection):
        requests.append(connection.request)
        await connection.send(encode(SNAPSHOT))
        await connection.wait_closed()

    async with daemon(handler) as url:
        types = ["decision.changed", "call.ended"]
        await read(subscribe(url, types=types, call_id="a b&c", token="t" * 16), 1)

    assert requests[0].path == "/ws/events?types=decision.changed,call.ended&call_id=a+b%26c"
    assert requests[0].headers["Authorization"] == "Bearer " + "t" * 16


@pytest.mark.parametrize(
    ("status", "word"), [(401, "token"), (403, "token"), (404, "FAC daemon"), (400, "400")]
)
async def test_a_refusal_that_stays_is_an_error(status, word):
    """Trying again with a wrong token or address helps nobody."""

    def refuse(connection, request):
        return connection.respond(status, "no\n")

    async with daemon(None, process_request=refuse) as url:
        with pytest.raises(FacError, match=word):
            await read(subscribe(url), 1)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refusal_that_passes_is_tried_again(status):
    """A daemon that is full or starting gets another chance."""
    refusals = iter([status])

    def refuse(connection, request):
        return connection.respond(next(refusals), "no\n") if refusals.__length_hint__() else None

    async def handler(connection):
        await connection.send(encode(SNAPSHOT))
        await connection.wait_closed()

    async with daemon(handler, process_request=refuse) as url:
        assert await read(subscribe(url), 1) == [SNAPSHOT]


async def test_an_event_of_a_later_version_is_passed_over():
    """A new type of event does not break old subscribers."""

    async def handler(connection):
        await connection.send(json.dumps({"type": "call.sang", "seq": 3, "tune": "Greensleeves"}))
        await connection.send(encode(SNAPSHOT))
        await connection.wait_closed()

    async with daemon(handler) as url:
        assert await read(subscribe(url), 1) == [SNAPSHOT]


async def test_fields_of_a_later_version_are_passed_over():
    """A new field, at any depth, does not break old subscribers."""

    async def handler(connection):
        snapshot = json.loads(encode(SNAPSHOT.model_copy(update={"calls": [CALL]})))
        snapshot["calls"][0]["mood"] = "good"
        await connection.send(json.dumps(snapshot | {"weather": {"sky": "blue"}}))
        await connection.send(json.dumps(json.loads(encode(STARTED)) | {"tune": "Greensleeves"}))
        await connection.wait_closed()

    async with daemon(handler) as url:
        snapshot, started = await read(subscribe(url), 2)
    assert snapshot.calls == [CALL]
    assert started == STARTED


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        "3",
        "{}",
        '{"type":"snapshot"}',
        b"\xff\xfe",
        '{"type":[]}',
        "[" * 100_000,
        "1" * 5000,
    ],
)
async def test_what_is_no_event_is_a_protocol_error(message):
    """Garbage ends the subscription with the documented error."""

    async def handler(connection):
        await connection.send(message)
        await connection.wait_closed()

    async with daemon(handler) as url:
        with pytest.raises(ProtocolError, match="no event of wire version 1"):
            await read(subscribe(url), 1)


@pytest.mark.parametrize(
    ("given_url", "address"),
    [
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765/ws/events"),
        ("https://fac.example/", "wss://fac.example/ws/events"),
        ("localhost:9000", "ws://localhost:9000/ws/events"),
        ("ws://[::1]:9000/ws/events?call_id=a", "ws://[::1]:9000/ws/events?call_id=a"),
        ("wss://fac.example/calls/ws/events#top", "wss://fac.example/calls/ws/events"),
    ],
)
def test_addresses_are_completed(given_url, address):
    """The dashboard's address is as good as the full one."""
    assert events_address(given_url) == address


@pytest.mark.parametrize(
    "url", ["", "ftp://host", "ws://", "ws://host:port", "ws://host:99999", "http:///ws/events"]
)
def test_what_is_no_address_is_refused(url):
    """A typing mistake is told, rather than retried for ever."""
    with pytest.raises(FacError, match="no address of a daemon"):
        events_address(url)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_fac_error(text):
    """Nothing that is typed makes a traceback."""
    with suppress(FacError):
        assert events_address(text).startswith(("ws://", "wss://"))


def test_an_unknown_event_type_is_refused():
    """A filter that can match nothing is a mistake."""
    with pytest.raises(FacError, match=r"no such event type: decision\.change;"):
        events_address("ws://host", types=["decision.change"])
