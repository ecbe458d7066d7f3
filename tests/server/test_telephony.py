"""The shell around every platform's dialogue, with the simplest dialogue there is."""

import asyncio
import base64
from contextlib import suppress

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.events import WindowScored
from fac_stream.protocols.dialogue import Finish, Hangup, Media, Send, Start, hangup
from fac_stream.server import app
from tests.server.serving import serving

RATE = 8000
SECOND = bytes(range(256)) * 31 + bytes(64)
TOKEN = "a-token-of-sixteen-characters"


class Plain:
    """Text ``start ID TOKEN`` begins a call, bytes are µ-law, ``stop`` ends it; scores are counted back."""

    def receive_text(self, text):
        """Take a command."""
        word, *rest = text.split()
        if word == "start":
            return [
                Start(
                    AudioFormat(RATE, Encoding.MULAW, ("caller",)), rest[0], {}, rest[1] if rest[1:] else None
                )
            ]
        if word == "stop":
            return [Finish()]
        raise ProtocolError(f"unknown word {word}")

    def receive_bytes(self, data):
        """Take audio."""
        return [Media(data, "caller")]

    def receive_close(self):
        """A close without stop completes nothing."""
        return []

    def admitted(self, call_id):
        """Say so."""
        return [Send(f"admitted {call_id}")]

    def refused(self, refusal, reason):
        """Say why."""
        return [Send(f"refused {refusal.value} {reason}"), hangup(refusal, reason)]

    def event(self, event):
        """Tell of scores."""
        return [Send("scored")] if isinstance(event, WindowScored) else []

    def ended(self, reason):
        """Say goodbye."""
        return [Send(f"ended {reason.value}"), Hangup(1000, "bye")]


class PlainPlatform:
    """Where it is served."""

    name = "plain"
    paths = ("/ws/plain",)
    subprotocols = ()
    sends_token = False

    def authorise(self, request):
        """No secret of its own."""
        return False

    def dialogue(self, request):
        """A parser."""
        return Plain()


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """The only platform."""
    monkeypatch.setattr(app, "platforms", lambda _: [PlainPlatform()])


async def said(socket):
    """All text that the daemon sends until it closes, and the code."""
    texts = []
    async with asyncio.timeout(30):
        with suppress(ConnectionClosed):
            while True:
                texts.append(await socket.recv())
    return texts, socket.close_code


async def test_a_call_is_admitted_scored_and_ended(tmp_path):
    """Every reply of the dialogue is sent in its place; scores of this call come back before the end."""
    async with serving(tmp_path) as served, served.connect("/ws/plain") as socket:
        await socket.send("start c")
        for _ in range(3):
            await socket.send(SECOND)
        await socket.send("stop")
        texts, code = await said(socket)
    assert texts == ["admitted c", "scored", "scored", "scored", "ended completed"]
    assert code == 1000
    assert served.of("call.started")[0].source == "plain"


@pytest.mark.parametrize(
    ("messages", "refused"),
    [
        (["hello"], "refused protocol_error unknown word hello"),
        ([SECOND], "refused protocol_error audio came before the call began"),
        (["start a", "start b"], "refused protocol_error a second call began on the same connection"),
        (["start a", SECOND, "what"], "refused protocol_error unknown word what"),
    ],
)
async def test_a_broken_dialogue_is_told_in_its_own_words(tmp_path, messages, refused):
    """Whatever breaks the format, before or in the call, is answered by the dialogue and closed."""
    async with serving(tmp_path) as served, served.connect("/ws/plain") as socket:
        for message in messages:
            await socket.send(message)
        texts, code = await said(socket)
    assert texts[-1] == refused
    assert code == 4400
    assert len(served.services.calls) == 0


async def test_a_close_without_end_waits_for_the_peer_to_return(tmp_path):
    """The next connection with the same id continues the call."""
    async with serving(tmp_path) as served:
        async with served.connect("/ws/plain") as socket:
            await socket.send("start c")
            await socket.send(3 * SECOND)
            await served.first("window.scored")
        async with served.connect("/ws/plain") as socket:
            await socket.send("start c")
            assert await socket.recv() == "admitted c"
            await socket.send(3 * SECOND)
            await socket.send("stop")
            texts, _ = await said(socket)
    assert texts[-1] == "ended completed"
    assert len(served.of("call.started")) == len(served.of("call.ended")) == 1


@pytest.mark.parametrize("proof", ["header", "basic", "path", "call"])
async def test_with_a_token_one_proof_is_enough(tmp_path, proof):
    """The header, a password, the end of the path, or the call's own parameter; the log shows none."""
    path = f"/ws/plain/{TOKEN}" if proof == "path" else "/ws/plain"
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    headers = {"header": {"Authorization": f"Bearer {TOKEN}"}, "basic": {"Authorization": f"Basic {basic}"}}
    async with (
        serving(tmp_path, server={"token": TOKEN}) as served,
        served.connect(path, additional_headers=headers.get(proof, {})) as socket,
    ):
        await socket.send(f"start c {TOKEN}" if proof == "call" else "start c")
        assert await socket.recv() == "admitted c"


@pytest.mark.parametrize("given", ["", "a-token-of-sixteen-characterz"])
async def test_without_proof_there_is_no_call(tmp_path, given):
    """A missing or wrong token is refused at the start of the call; nothing is published."""
    async with serving(tmp_path, server={"token": TOKEN}) as served, served.connect("/ws/plain") as socket:
        await socket.send(f"start c {given}")
        texts, code = await said(socket)
    assert texts[0].startswith("refused unauthorised")
    assert code == 4401
    assert served.events == []


@pytest.mark.parametrize(("most", "name", "word"), [(1, "b", "full"), (2, "a", "call_id_in_use")])
async def test_a_full_daemon_says_so_and_a_taken_id_too(tmp_path, monkeypatch, most, name, word):
    """One more call than allowed, or an id that is going on: refused in the dialogue's words."""
    monkeypatch.setattr("fac_stream.calls.intake.STALLED_S", 600.0)
    async with serving(tmp_path, ingest={"max_calls": most}) as served, served.connect("/ws/plain") as first:
        await first.send("start a")
        await first.recv()
        async with served.connect("/ws/plain") as second:
            await second.send(f"start {name}")
            texts, _ = await said(second)
    assert texts[0].startswith(f"refused {word}"), texts


async def test_the_daemon_stops(tmp_path):
    """Calls end as shutdown, and their peers are told to come back later."""
    async with serving(tmp_path) as served:
        socket = await served.connect("/ws/plain")
        await socket.send("start c")
        await socket.recv()
    texts, code = await said(socket)
    assert texts[-1].startswith("refused stopping")
    assert code == 1001


async def test_a_plain_request_is_no_connection(tmp_path):
    """Without a handshake there is an answer in words."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/ws/plain")
        assert response.status == 400
    with pytest.raises((InvalidStatus, OSError)):
        async with served.connect("/ws/plain"):
            pass


async def test_who_proved_nothing_keeps_nobody_out_who_did(tmp_path):
    """Connections whose token is still to come have places of their own."""
    proof = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        serving(tmp_path, server={"token": TOKEN}, ingest={"max_calls": 1}) as served,
        served.connect("/ws/plain"),
    ):
        with pytest.raises(InvalidStatus):
            await served.connect("/ws/plain")
        async with served.connect("/ws/plain", additional_headers=proof) as socket:
            await socket.send("start c")
            assert await socket.recv() == "admitted c"


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("GET", f"/ws/plain/{TOKEN}", "/ws/plain/{token}"),
        ("POST", f"/ws/plain/{TOKEN}", "/ws/plain/{token}"),
        ("GET", f"/ws/plian/{TOKEN}/", "/ws/plian/{token}"),
        ("GET", "/ws/plain", "/ws/plain"),
    ],
)
async def test_no_log_shows_a_token(tmp_path, method, path, shown):
    """Neither of requests that go wrong, nor of those that name no route."""
    with capture_logs() as lines:
        async with serving(tmp_path, server={"token": TOKEN}) as served:
            await served.http.request(method, path)
    assert [line["path"] for line in lines if line["event"] == "request"] == [shown]
    assert TOKEN not in str(lines)


async def test_no_log_of_a_failure_shows_a_token(tmp_path, monkeypatch):
    """A parser that stumbles is logged with its connection's address."""
    monkeypatch.setattr(Plain, "receive_text", lambda *_: 1 / 0)
    with capture_logs() as lines:
        async with (
            serving(tmp_path, server={"token": TOKEN}) as served,
            served.connect(f"/ws/plain/{TOKEN}") as socket,
        ):
            await socket.send("start c")
            await said(socket)
    assert [line["path"] for line in lines if line["event"] == "connection failed"] == ["/ws/plain/{token}"]
