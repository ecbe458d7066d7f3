"""Asterisk against the real daemon: AudioSocket, and chan_websocket in both roles.

By emulators written from Asterisk's documentation; WebSockets by an independent implementation, AudioSocket
by one where it is installed: ``npm ci --prefix tests/peers/node``.
"""

import asyncio
import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes import tone
from tests.peers import asterisk, audiosocket
from tests.peers.ear import Ear
from tests.peers.voice import converted
from tests.running import running, s16, speech

pytestmark = pytest.mark.daemon

TOKEN = "c2VjcmV0dG9rZW4tMDEyMzQ1"
SECONDS = 6
NODE = Path(__file__).resolve().parents[1] / "peers" / "node"
CALL = str(uuid.UUID("40325ec2-5efd-4bd3-805f-53576e581d13"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon without a token, with AudioSocket."""
    with running(tmp_path_factory.mktemp("open"), listeners={"audiosocket": {"port": 0}}) as started:
        yield started


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon with a token that takes one call."""
    folder = tmp_path_factory.mktemp("guarded")
    with running(folder, server={"port": 0, "token": TOKEN}, ingest={"max_calls": 1}) as started:
        yield started


@pytest.fixture(scope="module")
def voice(corpus_clips):
    """Six seconds of a synthetic voice, ``pcm_s16le`` at 16 kHz."""
    return s16(speech(corpus_clips("fake", "train", 1, min_s=2.9), SECONDS))


def audiosocket_address(daemon):
    """Where AudioSocket is listened for, once it is."""
    while True:
        with urllib.request.urlopen(daemon.url + "api/health", timeout=30) as answer:
            if address := json.load(answer)["listeners"].get("audiosocket"):
                return address


def post(daemon, **form):
    """Ask for a connection, as the dialplan's CURL() does; the status and the answer."""
    request = urllib.request.Request(daemon.url + "api/asterisk", data=urlencode(form).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def scores(ear, call_id, leg="mixed"):
    """The scores of a call, in order; NaN where there is none."""
    events = sorted(ear.of("window.scored", call_id=call_id, leg=leg), key=lambda event: event.index)
    return np.array([np.nan if event.score is None else event.score for event in events])


async def heard(daemon, call_id, placed):
    """Place a call and listen to its end; the reader and what the peer heard."""
    async with Ear(daemon.ws("/ws/events")) as ear:
        said = await placed
        await ear.until(lambda: ear.of("call.ended", call_id=call_id))
        return ear, said


async def test_an_audiosocket_call_is_scored(daemon, voice):
    """The listener's address stands in the health; the call in the events, with the type's rate."""
    address = audiosocket_address(daemon)
    ear, said = await heard(daemon, CALL, audiosocket.place_call(address, voice, CALL, pace=4, kind=0x12))
    (started,) = ear.of("call.started", call_id=CALL)
    (ended,) = ear.of("call.ended", call_id=CALL)
    assert (started.source, started.sample_rate) == ("audiosocket", 16_000)
    assert (ended.reason, ended.duration_s) == ("completed", SECONDS)
    assert np.isfinite(scores(ear, CALL)).any()
    assert said == bytes(3)


@pytest.mark.programs("node")
@pytest.mark.skipif(
    not (NODE / "node_modules" / "asterisk-audiosocket").is_dir(),
    reason="not installed: npm ci --prefix tests/peers/node",
)
async def test_another_implementation_of_audiosocket_is_understood(daemon, voice):
    """Its packets, at its own pace: the whole call is scored, and our hangup is understood."""
    host, _, port = audiosocket_address(daemon).rpartition(":")
    call_id = str(uuid.uuid4())
    async with Ear(daemon.ws("/ws/events")) as ear:
        process = await asyncio.create_subprocess_exec(
            "node", str(NODE / "audiosocket.mjs"), host, port, call_id,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            said, _ = await process.communicate(converted(voice, 8_000))
        await ear.until(lambda: ear.of("call.ended", call_id=call_id))
    (ended,) = ear.of("call.ended", call_id=call_id)
    assert (ended.reason, ended.duration_s, ended.lost_s) == ("completed", SECONDS, 0)
    assert np.isfinite(scores(ear, call_id)).any()
    assert said == b"hangup\n"


@pytest.mark.parametrize(("fmt", "control", "early"), [("slin16", "json", 3), ("slin16", "plain", 0)])
async def test_a_chan_websocket_call_is_scored(daemon, voice, fmt, control, early):
    """Either control format, audio first or not: scores as by AudioSocket with the same samples."""
    call_id = f"pbx1-{control}.{early}"
    reference = str(audiosocket.uuid_of(call_id))
    address = audiosocket_address(daemon)
    plain, _ = await heard(
        daemon, reference, audiosocket.place_call(address, voice, reference, pace=4, kind=0x12)
    )
    placed = asterisk.place_call(
        daemon.ws("/ws/asterisk"), voice, call_id, pace=4, fmt=fmt, control=control, early=early,
        parameters={"caller": "+4930123456", "leg": "caller"},
    )  # fmt: skip
    ear, _ = await heard(daemon, call_id, placed)
    (started,) = ear.of("call.started", call_id=call_id)
    (ended,) = ear.of("call.ended", call_id=call_id)
    assert (started.source, started.legs, started.sample_rate) == ("asterisk", ["caller"], 16_000)
    assert started.metadata["caller"] == "+4930123456"
    assert started.metadata["connection_id"] == asterisk.CONNECTION_ID
    assert (ended.reason, ended.duration_s) == ("completed", SECONDS)
    assert np.allclose(scores(ear, call_id, "caller"), scores(plain, reference), atol=1e-3, equal_nan=True)


PROOFS = {
    "path": ({"suffix": f"/{TOKEN}"}, {}),
    "password": ({}, {"password": TOKEN}),
    "variable": ({}, {"variables": {"token": TOKEN}}),
    "parameter": ({}, {"parameters": {"token": TOKEN}}),
}


@pytest.mark.parametrize("proof", PROOFS)
async def test_each_proof_opens_the_door(guarded, proof):
    """A token at the end of the path, as password, channel variable or URI parameter; it is never told."""
    where, how = PROOFS[proof]
    url = guarded.ws("/ws/asterisk") + where.get("suffix", "")
    call_id = f"proof-{proof}"
    said = await asterisk.place_call(url, s16(tone(1.0)), call_id, pace=0, **how)
    assert said == []
    detail = await asyncio.to_thread(until_ended, guarded, call_id)
    assert detail["end_reason"] == "completed"
    assert TOKEN not in json.dumps(detail)


@pytest.mark.parametrize(
    "how", [{}, {"password": "wrong"}, {"variables": {"token": "wrong"}}, {"parameters": {"token": "wrong"}}]
)
async def test_without_proof_the_channel_is_hung_up(guarded, how):
    """In Asterisk's own words; no call begins."""
    said = await asterisk.place_call(guarded.ws("/ws/asterisk"), s16(tone(1.0)), "unproven", pace=0, **how)
    assert said == ['{"command": "HANGUP"}']
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await asyncio.to_thread(ask, guarded, "api/calls/unproven")


async def test_one_call_too_many_is_hung_up(guarded):
    """The first goes on while the second is told, in plain text as it speaks."""
    url = f"{guarded.ws('/ws/asterisk')}/{TOKEN}"
    async with connect(url, subprotocols=["media"]) as first:
        await first.send(asterisk.media_start("first", "ulaw", "plain"))
        await first.send(bytes(160))
        await asyncio.to_thread(until, guarded, "first")
        said = await asterisk.place_call(url, s16(tone(1.0)), "second", pace=0, control="plain")
        assert said == ["HANGUP"]
    await asyncio.to_thread(until_ended, guarded, "first")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (asterisk.media_start("x").replace("slin16", "opus"), "dial with c(slin16)"),
        ("good morning", "MEDIA_START"),
        ('{"event": "MEDIA', "must be JSON"),
    ],
)
async def test_what_cannot_be_read_is_told_in_the_close(daemon, message, reason):
    """Code 4400, and what to do about it."""
    async with connect(daemon.ws("/ws/asterisk"), subprotocols=["media"]) as socket:
        await socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(30):
                await socket.recv()
    assert (closed.value.rcvd.code, reason in closed.value.rcvd.reason) == (4400, True)


async def test_another_subprotocol_is_refused(daemon):
    """The answer names the one that is spoken."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(daemon.ws("/ws/asterisk"), subprotocols=["ari"])
    assert refused.value.response.status_code == 400
    assert b"media" in refused.value.response.body


async def test_the_daemon_goes_to_a_call_that_waits(tmp_path, voice):
    """Asked by a form, it connects, answers once it has, and scores the call like any other; once."""
    async with asterisk.waiting_call(voice, "pbx1-7.7", pace=4) as url:
        with running(tmp_path, platforms={"asterisk": {"media_url": url, "leg": "caller"}}) as daemon:
            async with Ear(daemon.ws("/ws/events")) as ear:
                form = {"connection_id": asterisk.CONNECTION_ID, "caller": "+4930123456", "call_id": "17.42"}
                status, answer = await asyncio.to_thread(post, daemon, **form)
                assert (status, answer) == (202, {"connection_id": asterisk.CONNECTION_ID})
                again, told = await asyncio.to_thread(post, daemon, **form)
                assert (again, "has a connection already" in told["error"]["message"]) == (502, True)
                await ear.until(lambda: ear.of("call.ended", call_id="17.42"))
            (started,) = ear.of("call.started", call_id="17.42")
            (ended,) = ear.of("call.ended", call_id="17.42")
            assert (started.source, started.legs) == ("asterisk", ["caller"])
            assert started.metadata["caller"] == "+4930123456"
            assert (ended.reason, ended.duration_s) == ("completed", SECONDS)
            assert np.isfinite(scores(ear, "17.42", "caller")).any()


async def test_calls_that_do_not_wait_are_told(tmp_path):
    """Unknown ids, ids that cannot be one, and a daemon that was not told where Asterisk is."""
    async with asterisk.waiting_call(b"", "x") as url:
        with running(tmp_path, platforms={"asterisk": {"media_url": url}}) as daemon:
            status, answer = await asyncio.to_thread(post, daemon, connection_id="nobody-waits")
            assert (status, "no such call" in answer["error"]["message"]) == (502, True)
            for wrong in ("", "../ari", "a b"):
                status, answer = await asyncio.to_thread(post, daemon, connection_id=wrong)
                assert (status, answer["error"]["code"]) == (400, "bad_request")
    with running(tmp_path) as daemon:
        status, answer = await asyncio.to_thread(post, daemon, connection_id="x")
        assert (status, "media_url" in answer["error"]["message"]) == (404, True)


def ask(daemon, path):
    """GET as JSON, with the token."""
    request = urllib.request.Request(daemon.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def until(daemon, call_id, holds=lambda call: True):
    """Ask until a call has begun, and something holds of it."""
    while True:
        try:
            call = ask(daemon, f"api/calls/{call_id}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        else:
            if holds(call):
                return call


def until_ended(daemon, call_id):
    """Ask until a call has ended."""
    return until(daemon, call_id, lambda call: call["ended_at"])
