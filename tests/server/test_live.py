import asyncio
import json
import socket as sockets
from itertools import pairwise

import pytest

from fac_stream.events import decode
from fac_stream.server import live
from tests.fakes import a_decision, a_score
from tests.server.serving import hello, serving, voice

LONG = "x" * 2000


async def receive(socket, count=1):
    """The next events."""
    async with asyncio.timeout(30):
        return [decode(await socket.recv()) for _ in range(count)]


async def test_a_snapshot_comes_first_and_every_event_after_it_once(tmp_path):
    """Subscribers who join in the middle of a flood see no hole and nothing twice."""
    total = 400
    async with serving(tmp_path) as served:
        bus = served.services.bus

        async def follow():
            async with served.connect("/ws/events") as socket:
                events = await receive(socket)
                while events[-1].seq < total:
                    events += await receive(socket)
                return events

        async with asyncio.TaskGroup() as group:
            followers = []
            for i in range(total):
                if i % 50 == 0:
                    followers.append(group.create_task(follow()))
                bus.publish(a_decision())
                await asyncio.sleep(0)
        for follower in followers:
            first, *rest = follower.result()
            assert first.type == "snapshot"
            assert "snapshot" not in {event.type for event in rest}
            assert [event.seq for event in rest] == list(range(first.seq + 1, total + 1))


async def test_the_snapshot_holds_the_calls_that_go_on(tmp_path):
    """Model, thresholds and active calls; with ?call_id= only that call."""
    async with serving(tmp_path) as served:
        for call_id in ("a", "b"):
            await hello(await served.connect("/ws/ingest"), call_id=call_id)
        async with served.connect("/ws/events") as socket:
            [snapshot] = await receive(socket)
        async with served.connect("/ws/events?call_id=b") as socket:
            [filtered] = await receive(socket)
    assert [call.call_id for call in snapshot.calls] == ["a", "b"]
    assert snapshot.model == "fake@00000000"
    assert [call.call_id for call in filtered.calls] == ["b"]


async def test_filters_choose_types_and_call(tmp_path):
    """?types= and ?call_id= hold for events, and not for the snapshot itself."""
    async with serving(tmp_path) as served:
        address = "/ws/events?types=call.started,call.ended&call_id=b"
        async with served.connect(address) as socket:
            first = await receive(socket)
            for call_id in ("a", "b"):
                async with served.connect("/ws/ingest") as call:
                    await hello(call, call_id=call_id)
                    await call.send(voice(1.0, 3))
            events = first + await receive(socket, 2)
    assert [(event.type, event.call_id) for event in events] == [
        ("snapshot", None),
        ("call.started", "b"),
        ("call.ended", "b"),
    ]


async def test_a_fresh_snapshot_can_be_asked_for(tmp_path):
    """It stands in the stream where it belongs: after what it includes, before what comes later."""
    async with serving(tmp_path) as served, served.connect("/ws/events") as socket:
        await receive(socket)
        served.services.bus.publish(a_decision())
        await socket.send('{"type": "snapshot"}')
        events = await receive(socket, 2)
        served.services.bus.publish(a_decision())
        events += await receive(socket)
    assert [(event.type, event.seq) for event in events] == [
        ("decision.changed", 1),
        ("snapshot", 1),
        ("decision.changed", 2),
    ]


@pytest.mark.parametrize("message", ["hello", "[" * 4000, '{"type": "subscribe"}', b"audio"])
async def test_other_messages_are_refused(tmp_path, message):
    """Whoever sends something else has the wrong address, and is told so with 4400."""
    async with serving(tmp_path) as served, served.connect("/ws/events") as socket:
        await receive(socket)
        await socket.send(message)
        async with asyncio.timeout(30):
            await socket.wait_closed()
        assert socket.close_code == 4400
        assert socket.close_reason


@pytest.mark.parametrize("query", ["types=score", "types=window.scored,x", "type=window.scored", "a=1"])
async def test_a_misspelt_filter_is_refused(tmp_path, query):
    """A filter that would silently let nothing or everything through is a 400."""
    async with serving(tmp_path) as served:
        response = await served.http.get(f"/ws/events?{query}")
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "bad_query"


async def test_subscribers_are_limited(tmp_path):
    """Beyond server.max_subscribers there is 503, until one leaves."""
    async with serving(tmp_path, server={"max_subscribers": 1}) as served:
        async with served.connect("/ws/events") as socket:
            await receive(socket)
            response = await served.http.get("/ws/events")
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert (await response.json())["error"]["code"] == "too_many_subscribers"
        async with served.connect("/ws/events") as socket:
            assert (await receive(socket))[0].type == "snapshot"


async def test_stopping_tells_subscribers_after_the_last_event(tmp_path):
    """The end of every call is delivered, and then the socket is closed with 1001."""
    async with serving(tmp_path) as served:
        call = await served.connect("/ws/ingest")
        await hello(call)
        socket = await served.connect("/ws/events")
        await receive(socket)
    assert [event.type for event in await receive(socket)] == ["call.ended"]
    async with asyncio.timeout(30):
        await socket.wait_closed()
    assert socket.close_code == 1001
    await call.close()


async def stuck(served, path="/ws/events"):
    """A subscriber that shakes hands and then never reads, with little room in its buffers."""
    socket = sockets.socket()
    socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    socket.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(socket, served.address)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(socket, request.encode())
    assert (await loop.sock_recv(socket, 12)).endswith(b"101")
    return socket


async def test_a_subscriber_that_stops_reading_delays_nobody(tmp_path, monkeypatch):
    """It is cut off after the send timeout; meanwhile and afterwards others get everything in order."""
    monkeypatch.setattr(live, "SEND_TIMEOUT_S", 0.2)
    # Decisions are never coalesced: this many of this length overflow the buffers of any kernel.
    total, published = 30_000, 0
    async with serving(tmp_path, server={"subscriber_queue": 100_000}, alerts={"rules": []}) as served:
        bus = served.services.bus
        stuck_socket = await stuck(served)
        async with served.connect("/ws/events") as reader:
            await receive(reader)
            assert bus.subscribers == 2
            seqs = []
            while bus.subscribers == 2 and published < total:
                bus.publish(a_decision(model=LONG))
                published += 1
                seqs += [event.seq for event in await receive(reader)]
            assert seqs == list(range(1, published + 1))
            assert bus.subscribers == 1
            bus.publish(a_score())
            assert (await receive(reader))[0].type == "window.scored"
        stuck_socket.close()


async def test_a_slow_subscriber_loses_scores_and_no_decision(tmp_path):
    """Whoever reads late gets the latest score of each leg and every decision."""
    async with serving(tmp_path, server={"subscriber_queue": 64}) as served:
        bus = served.services.bus
        async with served.connect("/ws/events") as socket:
            await receive(socket)
            # Nothing is awaited in between, so the sender has no chance to keep up.
            for i in range(1000):
                bus.publish(a_score(i))
                if i % 50 == 0:
                    bus.publish(a_decision())
            events = await receive(socket)
            while events[-1].type != "window.scored" or events[-1].index < 999:
                events += await receive(socket)
    assert len([event for event in events if event.type == "decision.changed"]) == 20
    assert len(events) < 100
    assert all(a.seq < b.seq for a, b in pairwise(events))


async def test_a_subscriber_who_cannot_take_the_decisions_is_closed_with_a_reason(tmp_path):
    """4008 and words, instead of a hole; after reconnecting the snapshot shows where things stand."""
    async with serving(tmp_path, server={"subscriber_queue": 64}) as served:
        bus = served.services.bus
        async with served.connect("/ws/events") as socket:
            await receive(socket)
            for _ in range(65):
                bus.publish(a_decision())
            async with asyncio.timeout(30):
                await socket.wait_closed()
            assert socket.close_code == 4008
            assert "read faster" in socket.close_reason
        async with served.connect("/ws/events") as socket:
            assert (await receive(socket))[0].seq >= 65  # health may have spoken, too


async def test_a_subscriber_that_is_gone_without_a_word_is_noticed(tmp_path, monkeypatch):
    """Unanswered pings end the subscription, so that it does not hold its place for ever."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    async with serving(tmp_path) as served:
        gone = await stuck(served)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while await loop.sock_recv(gone, 4096):
                pass
            while served.services.bus.subscribers:  # noqa: ASYNC110 - leaving a bus is no event
                await asyncio.sleep(0.01)
        gone.close()


async def test_unread_snapshots_do_not_pile_up(tmp_path):
    """A client that asks again and again before reading gets one snapshot, not one each."""
    async with serving(tmp_path) as served, served.connect("/ws/events") as socket:
        await receive(socket)
        for _ in range(50):
            await socket.send(json.dumps({"type": "snapshot"}))
        await (await socket.ping())
        served.services.bus.publish(a_decision())
        events = await receive(socket)
        while events[-1].type != "decision.changed":
            events += await receive(socket)
    assert 2 <= len(events) <= 51
