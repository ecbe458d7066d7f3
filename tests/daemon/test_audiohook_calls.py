"""Genesys AudioHook against the real daemon: by our emulator, and by the official client where it is built.

The official client is no package: ``AUDIOHOOK_REFERENCE`` names a folder that holds it, compiled, see
docs/connect/audiohook.md.
"""

import asyncio
import json
import os
import pty
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import Encoding
from tests.peers.audiohook import NULL, connected, handshake, place_call
from tests.running import running, s16, speech

pytestmark = pytest.mark.daemon

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
KEYS = {"api_key": API_KEY, "client_secret": SECRET}
SECONDS = 12
REFERENCE = os.environ.get("AUDIOHOOK_REFERENCE")


@pytest.fixture(scope="module")
def genesys(tmp_path_factory):
    """A daemon that asks for signatures and takes two calls: its address for AudioHook, and itself."""
    with running(
        tmp_path_factory.mktemp("audiohook"),
        platforms={"audiohook": KEYS | {"scores_every_s": 2}},
        ingest={"max_calls": 2},
    ) as daemon:
        yield daemon.ws("/ws/audiohook"), daemon


@pytest.fixture(scope="module")
def voice(corpus_clips):
    """Twelve seconds of one synthetic voice, float32 at 16 kHz."""
    return speech(corpus_clips("fake", "train", 1, min_s=2.9), SECONDS)


def calls(daemon):
    """The calls of a daemon, by id."""
    with urllib.request.urlopen(daemon.url + "api/calls", timeout=30) as answer:
        return {call["call_id"]: call for call in json.load(answer)["calls"]}


def detail(daemon, call_id):
    """One call with its timeline."""
    with urllib.request.urlopen(f"{daemon.url}api/calls/{call_id}", timeout=30) as answer:
        return json.load(answer)


def lost(daemon, call_id):
    """Whether the daemon has noticed that a call's connection is gone."""
    lines = daemon.log.read_text().splitlines()
    return any('"connection lost"' in line and call_id in line for line in lines)


async def test_a_signed_call_is_scored_and_answered(genesys, voice):
    """Genesys hears the same scores as every other listener, some of them, and the last one always."""
    url, daemon = genesys
    call_id = str(uuid.uuid4())

    entities = await place_call(url, s16(voice), call_id, pace=4, **KEYS)

    call = detail(daemon, call_id)
    assert (call["source"], call["end_reason"], call["encoding"]) == ("audiohook", "completed", "mulaw")
    assert call["metadata"]["ani"] == "tel:+13175550100"
    assert call["metadata"]["session_id"] == call_id
    assert [leg["leg"] for leg in call["legs"]] == ["caller", "agent"]
    points = {point["end_s"]: point["score"] for point in call["timeline"]["caller"]}
    heard = {float(entity["data"]["position"][2:-1]) + 2: entity["data"]["score"] for entity in entities}
    assert heard.items() <= points.items()
    assert {entity["data"]["channel"] for entity in entities} == {"external"}  # the agent is silent
    assert SECONDS / 2 - 1 <= len(heard) <= SECONDS  # one in two seconds, more where a decision changed
    scored = [end_s for end_s, score in points.items() if score is not None]
    assert max(heard) == scored[-1]


async def test_both_media_formats_give_the_same_scores(genesys, voice):
    """What µ-law leaves of a sample, sent as L16, is the same audio: so are the scores, to the last digit."""
    url, daemon = genesys
    lossy = decode(encode(voice[::2].reshape(-1, 1), Encoding.MULAW), Encoding.MULAW, 1)[:, 0]
    timelines = []
    for media in ("PCMU", "L16"):
        async with connected(url, **KEYS) as session:
            await session.open(media)
            await session.send(session.encoded(lossy), pace=8)
            await session.close()
        timelines.append(detail(daemon, session.session)["timeline"]["caller"])

    assert [point["score"] for point in timelines[0]] == [point["score"] for point in timelines[1]]
    assert len(timelines[0]) == 2 * (SECONDS - 2) + 1


async def test_what_is_left_out_is_a_gap(genesys):
    """Discarded and paused audio counts as time, and no window reaches across it."""
    url, daemon = genesys
    noise = np.random.default_rng(1).normal(0, 0.1, 8000 * 4).astype(np.float32)
    async with connected(url, **KEYS) as session:
        await session.open()
        data = session.encoded(noise)
        await session.send(data, pace=8)
        session.position = 7.0
        await session.say("discarded", start="PT4S", discarded="PT3S")
        await session.send(data, pace=8)
        await session.say("paused")
        await session.say("ping")
        await session.hear("pong")
        session.position = 13.0
        await session.say("resumed", start="PT11S", discarded="PT2S")
        await session.send(data, pace=8)
        await session.close()

    call = detail(daemon, session.session)
    assert call["duration_s"] == 17
    ends = [point["end_s"] for point in call["timeline"]["caller"]]
    assert ends == [a + 0.5 * n for a in (2, 9, 15) for n in range(5)]


async def test_a_probe_is_no_call(genesys):
    """Saving the integration in Genesys Cloud opens and closes a session of nobody."""
    url, daemon = genesys
    before = set(calls(daemon))
    async with connected(url, **KEYS) as session:
        nobody = {"id": NULL, "ani": "", "aniName": "", "dnis": ""}
        await session.open(conversationId=NULL, participant=nobody)
        await session.send(session.encoded(np.zeros(8000, np.float32)), pace=0)
        await session.close()
    assert set(calls(daemon)) == before


@pytest.mark.parametrize(
    "keys",
    [{"api_key": API_KEY}, {"api_key": "other", "client_secret": SECRET}, {**KEYS, "client_secret": "AAAA"}],
    ids=["unsigned", "key", "secret"],
)
async def test_strangers_are_refused_at_the_door(genesys, keys):
    """401, before there is a socket."""
    with pytest.raises(InvalidStatus) as refused:
        async with connected(genesys[0], **keys):
            pass
    assert refused.value.response.status_code == 401


async def test_a_handshake_is_good_for_once(genesys):
    """Who recorded the headers of one connection cannot make another."""
    url, _ = genesys
    headers = handshake(url, str(uuid.uuid4()), str(uuid.uuid4()), API_KEY, SECRET)
    async with connect(url, additional_headers=headers, proxy=None):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=headers, proxy=None):
                pass
    assert refused.value.response.status_code == 401


async def test_a_full_daemon_says_so(genesys):
    """The third call is told to go, in the protocol's words; the others are not disturbed."""
    url, daemon = genesys
    async with connected(url, **KEYS) as one, connected(url, **KEYS) as two, connected(url, **KEYS) as three:
        await one.open()
        await two.open()
        with pytest.raises(ConnectionClosed):
            await three.open()
        refused = three.received[-1]
        assert (refused["type"], refused["parameters"]["reason"]) == ("disconnect", "error")
        await one.close()
        await two.close()
    assert three.session not in calls(daemon)


async def test_nonsense_is_answered_and_ends_the_call(genesys):
    """A number that does not follow: ``disconnect``, and the call ended for that reason."""
    url, daemon = genesys
    async with connected(url, **KEYS) as session:
        await session.open()
        session._seq += 1
        await session.say("ping")
        with pytest.raises(ConnectionClosed):
            await session.hear("pong")
    assert "seq must be 2, not 3" in session.received[-1]["parameters"]["info"]
    assert calls(daemon)[session.session]["end_reason"] == "protocol_error"


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "reconnect"])
async def test_a_session_goes_on_with_another(genesys, broken):
    """A connection broke, or was closed to reconnect: the next session belongs to the same call."""
    url, daemon = genesys
    noise = np.random.default_rng(1).normal(0, 0.1, 8000 * 3).astype(np.float32)
    async with connected(url, **KEYS) as first:
        await first.open()
        await first.send(first.encoded(noise))
        if broken:
            first.socket.transport.abort()
            async with asyncio.timeout(60):
                while not lost(daemon, first.session):  # noqa: ASYNC110 - it tells only its log
                    await asyncio.sleep(0.05)
        else:
            await first.close("reconnect")
    async with connected(url, **KEYS) as session:
        await session.open(continuedSessions=[{"id": first.session, "serverseq": 1, "clientseq": 1}])
        await session.send(session.encoded(noise))
        await session.close()

    call = detail(daemon, first.session)
    assert call["end_reason"] == "completed"
    assert call["duration_s"] >= 6
    assert session.session not in calls(daemon)


async def test_a_daemon_that_stops_asks_to_reconnect(tmp_path):
    """So that a balancer finds another one."""
    with running(tmp_path) as daemon:
        async with connected(daemon.ws("/ws/audiohook")) as session:
            await session.open()
            stopping = asyncio.create_task(asyncio.to_thread(daemon.stop))
            await session.hear("reconnect")
            with pytest.raises(ConnectionClosed) as closed:
                await session.hear("closed")
            assert closed.value.rcvd.code == 1001
            assert await stopping == 0


async def official_client(url, *options):
    """Run the official client to its end; returns its exit status and what it printed."""
    # It asks its standard input for raw mode: that takes a terminal.
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(Path(REFERENCE) / "client" / "src" / "index.js"),
            *("--uri", url, "--api-key", API_KEY, "--client-secret", SECRET, *options),
            stdin=theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(90):
            printed, _ = await process.communicate()
    finally:
        os.close(ours)
        os.close(theirs)
    return process.returncode, printed.decode()


needs_reference = pytest.mark.skipif(
    REFERENCE is None, reason="AUDIOHOOK_REFERENCE names no build of Genesys's reference client"
)


@needs_reference
@pytest.mark.programs("node")
async def test_the_official_client_is_content(genesys, voice, tmp_path):
    """Signature, open, audio, pings, events and close of an implementation that we did not write."""
    url, daemon = genesys
    before = set(calls(daemon))
    wav = tmp_path / "call.wav"
    stereo = np.stack([voice[::2], np.zeros_like(voice[::2])], axis=1)
    soundfile.write(wav, stereo, 8000, subtype="PCM_16")

    status, printed = await official_client(url, "--wavfile", str(wav))

    assert status == 0, printed
    assert "synthetic-voice" in printed
    assert "Session closed" in printed
    assert "WARN" not in printed
    assert "ERROR" not in printed
    (call_id,) = set(calls(daemon)) - before
    call = calls(daemon)[call_id]
    assert (call["end_reason"], call["duration_s"]) == ("completed", SECONDS)
    assert call["metadata"]["ani_name"] == "John Doe"


@needs_reference
@pytest.mark.programs("node")
async def test_the_official_client_s_probe_passes(genesys):
    """What Genesys Cloud does when the integration is saved."""
    url, daemon = genesys
    before = set(calls(daemon))

    status, printed = await official_client(url, "--connection-probe")

    assert status == 0, printed
    assert "Session closed" in printed
    assert set(calls(daemon)) == before
