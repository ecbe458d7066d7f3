import asyncio
import itertools
import json
import struct
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from fac_stream.calls import intake
from fac_stream.calls.call import CallRunner
from fac_stream.config import Ingest
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.protocols.pcm import PcmStream
from fac_stream.server import sockets, telephony
from fac_stream.sources import live
from fac_stream.sources.live import LiveSource
from fac_stream.sources.rate import RateCheck
from tests.fakes import BlockedScorer
from tests.server.serving import HELLO, answer, hello, serving, voice

RATE = 16_000


async def closing(socket):
    """The code with which the server closes."""
    async with asyncio.timeout(30):
        await socket.wait_closed()
    return socket.close_code


async def refusal(socket):
    """The error that the server sends, and the code with which it closes."""
    message = await answer(socket)
    assert message["type"] == "error", message
    return message["code"], message["message"], await closing(socket)


async def test_a_call_from_hello_to_ended(tmp_path):
    """Ready, scores, a decision, and a final message that says what the events said."""
    async with serving(tmp_path) as served, served.connect("/ws/ingest") as socket:
        ready = await hello(socket, call_id="a-1", metadata={"queue": "sales"})
        assert ready == {"type": "ready", "call_id": "a-1"}
        await socket.send(voice(1.0, 10))
        await socket.send('{"type": "end"}')
        ended = await answer(socket)
        assert await closing(socket) == 1000
    assert ended["type"] == "ended"
    assert ended["reason"] == "completed"
    assert ended["duration_s"] == 10.0
    assert [leg["worst_decision"] for leg in ended["legs"]] == ["synthetic"]
    assert [event.type for event in served.events][:2] == ["call.started", "window.scored"]
    assert served.of("call.started")[0].metadata == {"queue": "sales"}
    assert len(served.of("window.scored")) == 17
    last = [event for event in served.events if not event.type.startswith("alert.")][
        -1
    ]  # those go by the disk
    assert (last.type, last.call_id) == ("call.ended", "a-1")


async def test_the_size_of_messages_changes_nothing(tmp_path):
    """Messages that end inside a sample, 20 ms packets and whole recordings give the same scores."""
    data = voice(0.5, 4, 8000) + voice(1.0, 3, 8000)
    heard = []
    async with serving(tmp_path) as served:
        for size in (9, 320, 40_001, len(data)):
            served.events.clear()
            async with served.connect("/ws/ingest") as socket:
                await hello(socket, sample_rate=8000)
                for i in range(0, len(data), size):
                    await socket.send(data[i : i + size])
                await socket.send('{"type": "end"}')
                assert (await answer(socket))["duration_s"] == 7.0
            heard.append([(event.start_s, event.score) for event in served.of("window.scored")])
    assert len(heard[0]) == 11
    assert heard[1:] == heard[:1] * 3


async def test_two_channels_are_two_legs(tmp_path):
    """Each channel is scored by itself."""
    left, right = voice(0.0, 8), voice(1.0, 8)
    data = b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, len(left), 2))
    async with serving(tmp_path) as served, served.connect("/ws/ingest") as socket:
        await hello(socket, channels=2)
        await socket.send(data)
        await socket.send('{"type": "end"}')
        ended = await answer(socket)
    assert [(leg["leg"], leg["decision"]) for leg in ended["legs"]] == [
        ("caller", "human"),
        ("agent", "synthetic"),
    ]
    assert served.of("call.ended")


async def test_a_recording_sent_at_once_loses_nothing(tmp_path):
    """A sender faster than real time waits for the queue; all of it is scored although the queue is short."""
    async with serving(tmp_path, ingest={"queue_s": 0.5}) as served, served.connect("/ws/ingest") as socket:
        await hello(socket)
        second = voice(1.0, 1)
        for _ in range(40):
            await socket.send(second)
        await socket.send('{"type": "end"}')
        ended = await answer(socket)
    assert ended["duration_s"] == 40.0
    scored = served.of("window.scored")
    assert [event.index for event in scored] == list(range(77))
    assert all(event.skipped is None for event in scored)


async def test_a_large_message_is_taken_in_pieces(tmp_path):
    """A message of a minute becomes frames of half a second, none lost; the memory is the queue's."""
    hello = PcmStream().receive_text(json.dumps(HELLO | {"channels": 2}))
    source = LiveSource("websocket", "long", Start(hello.format), Ingest(queue_s=5.0))
    data = bytes(range(256)) * (60 * RATE * 4 // 256)
    frames = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        sender = group.create_task(source.push(Media(data, at=7)))
        sender.add_done_callback(lambda _: source.queue.close())
        async for frame in source.frames():
            assert source.queue._queued <= 5.5 * 2 * RATE
            frames.append(frame)
    assert b"".join(frame.data for frame in frames) == data
    assert [frame.start_sample for frame in frames] == [7 + i * RATE // 2 for i in range(120)]


async def test_a_wrong_rate_is_told(tmp_path, monkeypatch):
    """8 kHz declared as 16 kHz ends the call, in words, once the rhythm has shown it."""
    clock = iter(0.02 * i for i in itertools.count())
    monkeypatch.setattr(live, "RateCheck", lambda rate, _: RateCheck(rate, lambda: next(clock)))
    async with serving(tmp_path, ingest={"queue_s": 60}) as served, served.connect("/ws/ingest") as socket:
        await hello(socket, sample_rate=16_000)
        with suppress(ConnectionClosed):
            for _ in range(1000):
                await socket.send(bytes(2 * 160))
        code, message, closed = await refusal(socket)
    assert (code, closed) == ("protocol_error", 4400)
    assert "at 8000 samples a second, sample_rate says 16000: is the rate right?" in message


async def test_closing_the_connection_completes_the_call(tmp_path):
    """A close is as good as an end; what waits is still scored."""
    async with serving(tmp_path) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            await socket.send(voice(1.0, 3))
        assert (await served.first("call.ended")).reason == "completed"
        assert len(served.of("window.scored")) == 3


async def test_a_lost_connection_is_told_apart_from_a_close(tmp_path):
    """A connection that breaks without a close frame ends its call as lost, after scoring what came."""
    async with serving(tmp_path, ingest={"reconnect_s": 0}) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            await socket.send(voice(1.0, 3))
            await served.first("window.scored")
            socket.transport.abort()
            ended = await served.first("call.ended")
        assert (ended.reason, ended.duration_s) == ("source_lost", 3.0)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("hello", "must be JSON"),
        ('{"type": "end"}', "sample_rate"),
        (b"\0\0", "before the hello"),
        ('{"sample_rate": 999, "encoding": "mulaw", "channels": 1}', "4000"),
        ('{"sample_rate": 8000, "encoding": "mp3", "channels": 1}', "encoding"),
    ],
)
async def test_a_bad_hello_is_refused_in_words(tmp_path, message, said):
    """What cannot be read is refused with 4400 before there is a call."""
    async with serving(tmp_path) as served, served.connect("/ws/ingest") as socket:
        await socket.send(message)
        code, text, closed = await refusal(socket)
    assert (code, closed) == ("protocol_error", 4400)
    assert said in text
    assert served.events == []


async def test_a_client_that_says_nothing_is_sent_away(tmp_path, monkeypatch):
    """The hello has a deadline."""
    monkeypatch.setattr(telephony, "START_TIMEOUT_S", 0.05)
    async with serving(tmp_path) as served, served.connect("/ws/ingest") as socket:
        code, text, closed = await refusal(socket)
    assert (code, closed) == ("protocol_error", 4400)
    assert "no call began" in text
    assert served.events == []


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (["not json"], "must be JSON"),
        (['{"type": "start"}'], "only text message"),
        ([b"\0", '{"type": "end"}'], "inside a sample"),
    ],
)
async def test_a_broken_format_ends_the_call_after_its_audio(tmp_path, messages, said):
    """The client reads what was wrong; the audio before it is scored; the call ends as protocol_error."""
    async with serving(tmp_path) as served, served.connect("/ws/ingest") as socket:
        await hello(socket)
        await socket.send(voice(1.0, 2))
        for message in messages:
            await socket.send(message)
        code, text, closed = await refusal(socket)
    assert (code, closed) == ("protocol_error", 4400)
    assert said in text
    ended = served.of("call.ended")[0]
    assert ended.reason == "protocol_error"
    assert said in ended.detail
    assert len(served.of("window.scored")) == 1


async def test_samples_that_are_no_numbers_end_the_call(tmp_path):
    """NaN is refused where it is decoded; the client is told; the daemon goes on."""
    async with serving(tmp_path) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket, encoding="pcm_f32le")
            await socket.send(struct.pack("<f", float("nan")) * RATE * 3)
            code, _, closed = await refusal(socket)
            assert (code, closed) == ("protocol_error", 4400)
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            await socket.send('{"type": "end"}')
            assert (await answer(socket))["type"] == "ended"
    assert [event.reason for event in served.of("call.ended")] == ["protocol_error", "completed"]


async def test_a_giant_frame_ends_its_call_only(tmp_path):
    """A message beyond ingest.max_message_bytes ends its call as protocol_error; the next call works."""
    async with serving(tmp_path, ingest={"max_message_bytes": 100_000}) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            with suppress(ConnectionClosed):
                await socket.send(bytes(10_000_000))
            ended = await served.first("call.ended")
            assert await closing(socket) in (1009, 1006)
            assert ended.reason == "protocol_error"
            assert "100000" in ended.detail
        async with served.connect("/ws/ingest") as socket:
            assert (await hello(socket))["type"] == "ready"


async def test_one_call_id_is_one_call_at_a_time(tmp_path, monkeypatch):
    """A second call of the same id is refused with 4409 and harms neither the first nor a later one."""
    monkeypatch.setattr("fac_stream.calls.intake.STALLED_S", 600.0)
    async with serving(tmp_path) as served:
        async with served.connect("/ws/ingest") as first:
            await hello(first, call_id="x")
            async with served.connect("/ws/ingest") as second:
                assert (await hello(second, call_id="x"))["code"] == "call_id_in_use"
                assert await closing(second) == 4409
            await first.send('{"type": "end"}')
            assert (await answer(first))["type"] == "ended"
        async with served.connect("/ws/ingest") as third:
            assert (await hello(third, call_id="x"))["type"] == "ready"
    assert b'fac_calls_refused_total{reason="call_id_in_use"} 1.0' in served.services.metrics.exposition()


async def test_a_full_daemon_says_so(tmp_path):
    """Beyond ingest.max_calls a call is refused with 1013; beyond twice that, connections are."""
    async with serving(tmp_path, ingest={"max_calls": 1}) as served, served.connect("/ws/ingest") as first:
        await hello(first)
        async with served.connect("/ws/ingest") as second:
            assert (await hello(second))["code"] == "full"
            assert await closing(second) == 1013
        async with served.connect("/ws/ingest"):
            response = await served.http.get("/ws/ingest", headers=handshake())
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0


def handshake():
    """Headers of a WebSocket handshake made by hand."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }


async def test_silence_of_the_sender_ends_the_call(tmp_path):
    """A sender that sends nothing for ingest.idle_timeout_s is told and closed with 4408."""
    async with serving(tmp_path, ingest={"idle_timeout_s": 0.05}) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            code, _, closed = await refusal(socket)
        assert (code, closed) == ("idle", 4408)
        assert served.of("call.ended")[0].reason == "idle"


async def test_a_call_has_a_longest_duration(tmp_path):
    """Audio beyond ingest.max_duration_s ends the call with 4413."""
    async with serving(tmp_path, ingest={"max_duration_s": 3}) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            await socket.send(voice(0.5, 5))
            code, _, closed = await refusal(socket)
        assert (code, closed) == ("too_long", 4413)
        assert served.of("call.ended")[0].reason == "too_long"


async def test_a_trickle_does_not_hold_a_place_for_ever(tmp_path, monkeypatch):
    """A sender whose audio falls far behind the clock is ended by the clock."""
    monkeypatch.setattr(intake, "CLOCK_GRACE_S", 0)
    monkeypatch.setattr(intake, "LOOK_S", 0.01)
    async with serving(tmp_path, ingest={"max_duration_s": 0.1}) as served:
        async with served.connect("/ws/ingest") as socket:
            await hello(socket)
            with suppress(ConnectionClosed):
                while True:
                    await socket.send(bytes(2))
                    await asyncio.sleep(0.01)
            assert await closing(socket) == 4400
        assert "max_duration_s" in (await served.first("call.ended")).detail


async def test_pings_are_answered_while_the_model_works(tmp_path):
    """The socket is read although its call waits for scores."""
    scorer = BlockedScorer()
    async with serving(tmp_path, scorer=scorer) as served, served.connect("/ws/ingest") as socket:
        await hello(socket)
        await socket.send(voice(0.5, 3))
        assert await asyncio.to_thread(scorer.entered.wait, 30)
        pong = await socket.ping()
        async with asyncio.timeout(30):
            await pong
        scorer.release.set()
        await socket.send('{"type": "end"}')
        assert (await answer(socket))["duration_s"] == 3.0


async def test_stopping_ends_calls_as_shutdown(tmp_path):
    """When the server stops, callers are told with 1001 and subscribers see the reason."""
    async with serving(tmp_path) as served:
        socket = await served.connect("/ws/ingest")
        await hello(socket)
        await socket.send(voice(0.5, 3))
        await served.first("window.scored")
    code, _, closed = await refusal(socket)
    assert (code, closed) == ("stopping", 1001)
    assert served.of("call.ended")[0].reason == "shutdown"


async def test_stopping_does_not_wait_for_who_never_said_hello(tmp_path, monkeypatch):
    """A connection without a call is dropped at once."""
    monkeypatch.setattr(telephony, "START_TIMEOUT_S", 3600)
    monkeypatch.setattr(sockets, "STOP_TIMEOUT_S", 3600)
    async with asyncio.timeout(60):
        async with serving(tmp_path) as served:
            socket = await served.connect("/ws/ingest")
        await socket.wait_closed()


async def test_without_a_model_no_call_is_taken(tmp_path):
    """503 before the upgrade."""
    async with serving(tmp_path, loaded=False) as served:
        response = await served.http.get("/ws/ingest", headers=handshake())
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "model_not_loaded"


async def test_a_fault_of_ours_closes_with_1011(tmp_path, monkeypatch):
    """An error nobody expected ends one connection with a code, and gives the call's place back."""

    async def fail(*_):
        raise ValueError("a bug")

    async with serving(tmp_path) as served:
        with monkeypatch.context() as patch:
            patch.setattr(CallRunner, "_score", fail)
            async with served.connect("/ws/ingest") as socket:
                await hello(socket, call_id="x")
                assert await closing(socket) == 1011
        async with served.connect("/ws/ingest") as socket:
            assert (await hello(socket, call_id="x"))["type"] == "ready"
            await socket.send(json.dumps({"type": "end"}))
            assert (await answer(socket))["type"] == "ended"
