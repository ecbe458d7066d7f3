"""Twilio's family, Vonage and jambonz against the real daemon.

By emulators written from the vendors' pages, over an independent WebSocket client.
"""

import asyncio
import json
import urllib.request
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fac_stream.audio.frames import Encoding
from tests.peers import exotel, jambonz, plivo, signalwire, telnyx, twilio, vonage
from tests.peers.voice import converted, interleaved
from tests.running import running, s16, speech, stream

pytestmark = pytest.mark.daemon

SECONDS = 8
TOKEN = "c2VjcmV0dG9rZW4x7"
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
SIGNATURE_SECRET = "a-signature-secret"

SYSTEMS = {
    "twilio": (twilio, "/ws/twilio", 8_000, Encoding.MULAW, "caller"),
    "telnyx": (telnyx, "/ws/twilio", 8_000, Encoding.MULAW, "caller"),
    "signalwire": (signalwire, "/ws/twilio", 16_000, Encoding.PCM_S16LE, "caller"),
    "plivo": (plivo, "/ws/twilio", 8_000, Encoding.PCM_S16LE, "caller"),
    "exotel": (exotel, "/ws/twilio", 8_000, Encoding.PCM_S16LE, "caller"),
    "vonage": (vonage, "/ws/vonage", 16_000, Encoding.PCM_S16LE, "mixed"),
    "jambonz": (jambonz, "/ws/jambonz", 8_000, Encoding.PCM_S16LE, "caller"),
}
"""Name → emulator, path, and what it sends of the caller."""

PROOFS = {
    "twilio": {"parameters": {"token": TOKEN}},
    "telnyx": {"stream_auth_token": TOKEN},
    "signalwire": {"auth_bearer_token": TOKEN},
    "plivo": {"extra_headers": f"token={TOKEN}"},
    "exotel": {"parameters": {"token": TOKEN}},
    "vonage": {"headers": {"token": TOKEN}},
    "jambonz": {"metadata": {"token": TOKEN}},
}
"""How each brings the daemon's token."""


@pytest.fixture(scope="module")
def open_daemon(tmp_path_factory):
    """A daemon without a token."""
    with running(tmp_path_factory.mktemp("open")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon with a token."""
    with running(tmp_path_factory.mktemp("guarded"), server={"port": 0, "token": TOKEN}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def voices(corpus_clips):
    """A human's and a synthetic voice, ``pcm_s16le`` at 16 kHz."""
    labels = ("real", "fake")
    return tuple(s16(speech(corpus_clips(label, "train", 1, min_s=2.9), SECONDS)) for label in labels)


def ask(daemon, path):
    """GET as text, with the token."""
    request = urllib.request.Request(daemon.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def detail(daemon, call_id):
    """One call with its timelines."""
    return json.loads(ask(daemon, f"api/calls/{call_id}"))


@asynccontextmanager
async def ending(daemon, call_id):
    """Wait at the end of the block until this call has ended."""
    url = daemon.ws(f"/ws/events?call_id={call_id}")
    async with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as events:
        await events.recv()
        yield
        async with asyncio.timeout(60):
            while json.loads(await events.recv())["type"] != "call.ended":
                pass


async def timelines(daemon, call_id, data, *, rate, encoding, legs):
    """Leg → what ``/ws/ingest`` makes of the same audio."""
    hello = {
        "sample_rate": rate,
        "encoding": encoding,
        "channels": len(legs),
        "legs": legs,
        "call_id": call_id,
    }
    ended = await stream(daemon.ws("/ws/ingest"), hello, data, bytes_per_s=rate * len(legs), pace=0)
    assert ended["reason"] == "completed"
    return detail(daemon, call_id)["timeline"]


def check_same(timeline, expected):
    """Two legs hold the same windows with the same scores, but for what a batch's order does to a float."""
    assert [point["end_s"] for point in timeline] == [point["end_s"] for point in expected]
    scores = [
        [np.nan if p["score"] is None else p["score"] for p in points] for points in (timeline, expected)
    ]
    assert np.allclose(*scores, atol=1e-3, equal_nan=True)


@pytest.mark.corpus
@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_call_of_every_system_is_scored(open_daemon, voices, system):
    """The scores are those of the same samples on ``/ws/ingest``: wrapping and order cost nothing."""
    peer, path, rate, encoding, leg = SYSTEMS[system]
    plain = await timelines(
        open_daemon,
        f"plain-{system}",
        converted(voices[1], rate, encoding),
        rate=rate,
        encoding=encoding,
        legs=[leg],
    )

    async with ending(open_daemon, f"CA-{system}"):
        await peer.place_call(open_daemon.ws(path), voices[1], f"CA-{system}", pace=0)

    call = detail(open_daemon, f"CA-{system}")
    assert (call["source"], call["end_reason"]) == (path.removeprefix("/ws/"), "completed")
    assert call["metadata"]["platform"] == system
    assert any(point["score"] is not None for point in plain[leg])
    check_same(call["timeline"][leg], plain[leg])


@pytest.mark.corpus
@pytest.mark.parametrize("system", ["twilio", "jambonz"])
async def test_both_parties_are_scored_by_themselves(open_daemon, voices, system):
    """Two tracks, or two channels, become the legs caller and agent."""
    peer, path, rate, encoding, _ = SYSTEMS[system]
    caller, agent = (converted(voice, rate) for voice in voices)
    both = interleaved(caller, agent)
    if encoding is Encoding.MULAW:
        coded = [np.frombuffer(converted(voice, rate, encoding), np.uint8) for voice in voices]
        both = np.stack(coded, axis=1).tobytes()
    plain = await timelines(
        open_daemon, f"both-{system}", both, rate=rate, encoding=encoding, legs=["caller", "agent"]
    )

    async with ending(open_daemon, f"CB-{system}"):
        await peer.place_call(open_daemon.ws(path), voices[0], f"CB-{system}", pace=0, agent=voices[1])

    call = detail(open_daemon, f"CB-{system}")
    assert [leg["leg"] for leg in call["legs"]] == ["caller", "agent"]
    for leg in ("caller", "agent"):
        check_same(call["timeline"][leg], plain[leg])


@pytest.mark.parametrize("system", SYSTEMS)
async def test_every_system_can_bring_the_token(guarded, system):
    """In its own way, and at the end of the address; without it no call begins, and nothing shows it."""
    peer, path = SYSTEMS[system][:2]
    url, silence = guarded.ws(path), bytes(32_000)

    async with ending(guarded, f"CT-{system}"):
        await peer.place_call(url, silence, f"CT-{system}", pace=0, **PROOFS[system])
    async with ending(guarded, f"CU-{system}"):
        await peer.place_call(f"{url}/{TOKEN}", silence, f"CU-{system}", pace=0)
    await peer.place_call(url, silence, f"CV-{system}", pace=0)
    await peer.place_call(f"{url}/wrong", silence, f"CW-{system}", pace=0)

    calls = ask(guarded, "api/calls")
    heard = {call["call_id"]: call["end_reason"] for call in json.loads(calls)["calls"]}
    assert {name: heard.get(f"{name}-{system}") for name in ("CT", "CU", "CV", "CW")} == {
        "CT": "completed",
        "CU": "completed",
        "CV": None,
        "CW": None,
    }
    assert TOKEN not in calls
    assert TOKEN not in guarded.log.read_text()


async def test_a_wrong_token_is_told(guarded):
    """The close code says that it was the token."""
    url = guarded.ws("/ws/twilio")
    code = await twilio.place_call(url, bytes(32_000), "CX", pace=0, parameters={"token": "wrong"})
    assert code == 4401


async def test_signatures_are_asked_for_where_a_secret_is_set(tmp_path):
    """Who signs is let in without the token; who does not is refused before the upgrade."""
    with running(
        tmp_path,
        server={"port": 0, "token": TOKEN},
        platforms={
            "twilio": {"auth_token": AUTH_TOKEN},
            "vonage": {"signature_secret": SIGNATURE_SECRET},
        },
    ) as daemon:
        silence = bytes(32_000)
        secrets = (
            (twilio, "/ws/twilio", {"auth_token": AUTH_TOKEN}),
            (vonage, "/ws/vonage", {"signature_secret": SIGNATURE_SECRET}),
        )
        for peer, path, secret in secrets:
            url = daemon.ws(path)
            async with ending(daemon, "CS"):
                await peer.place_call(url, silence, "CS", pace=0, **secret)
            for given in ({}, dict.fromkeys(secret, "wrong")):
                with pytest.raises(InvalidStatus) as refused:
                    await peer.place_call(url, silence, "CS-refused", pace=0, **given)
                assert refused.value.response.status_code == 401
        heard = [(c["source"], c["end_reason"]) for c in json.loads(ask(daemon, "api/calls"))["calls"]]
        assert sorted(heard) == [("twilio", "completed"), ("vonage", "completed")]
