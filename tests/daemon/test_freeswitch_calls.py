"""FreeSWITCH's audio forks against the real daemon.

By an emulator written from the modules' documentation, over an independent WebSocket implementation.
"""

import asyncio
import json

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.fakes import tone
from tests.peers.ear import Ear
from tests.peers.freeswitch import place_call
from tests.running import running, s16, speech

pytestmark = pytest.mark.daemon

TOKEN = "c2VjcmV0dG9rZW4tMDEyMzQ1"
SECONDS = 10


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon that answers decisions."""
    with running(
        tmp_path_factory.mktemp("open"), platforms={"freeswitch": {"answer_decisions": True}}
    ) as started:
        yield started


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon with a token that takes one call."""
    folder = tmp_path_factory.mktemp("guarded")
    with running(folder, server={"port": 0, "token": TOKEN}, ingest={"max_calls": 1}) as started:
        yield started


@pytest.fixture(scope="module")
def voices(corpus_clips):
    """A synthetic voice and a human one, ``pcm_s16le`` at 16 kHz."""
    labels = ("fake", "real")
    return [s16(speech(corpus_clips(label, "train", 1, min_s=2.9), SECONDS)) for label in labels]


def scores(ear, call_id, leg):
    """The scores of a leg, in order; NaN where there is none."""
    events = sorted(ear.of("window.scored", call_id=call_id, leg=leg), key=lambda event: event.index)
    return np.array([np.nan if event.score is None else event.score for event in events])


async def heard(daemon, call_id, placed):
    """Place a call and listen to its end; the reader and what the module heard."""
    async with Ear(daemon.ws("/ws/events")) as ear:
        said = await placed
        await ear.until(lambda: ear.of("call.ended", call_id=call_id))
        return ear, said


async def test_both_modules_and_all_mixes_give_the_same_scores(daemon, voices):
    """The caller of a stereo stream is the caller of a mono fork; the agent is scored apart from him."""
    caller, agent = voices
    url = daemon.ws("/ws/freeswitch")
    mono, _ = await heard(
        daemon, "fs-mono", place_call(url, caller, "fs-mono", pace=4, metadata='{"queue": "claims"}')
    )
    alone, _ = await heard(daemon, "fs-mixed", place_call(url, agent, "fs-mixed", pace=4, channels="mixed"))
    stereo, _ = await heard(
        daemon,
        "fs-stereo",
        place_call(url, caller, "fs-stereo", pace=4, module="stream", channels="stereo", agent=agent),
    )

    (started,) = mono.of("call.started", call_id="fs-mono")
    assert (started.source, started.legs, started.sample_rate) == ("freeswitch", ["caller"], 8_000)
    assert started.metadata == {"queue": "claims"}
    assert stereo.of("call.started", call_id="fs-stereo")[0].legs == ["caller", "agent"]
    (ended,) = stereo.of("call.ended", call_id="fs-stereo")
    assert (ended.reason, ended.duration_s) == ("completed", SECONDS)
    for leg, ear, call_id, other in (
        ("caller", mono, "fs-mono", "caller"),
        ("agent", alone, "fs-mixed", "mixed"),
    ):
        expected = scores(ear, call_id, other)
        assert np.isfinite(expected).any()
        assert np.allclose(scores(stereo, "fs-stereo", leg), expected, atol=1e-3, equal_nan=True)


async def test_decisions_go_back_as_the_modules_hand_them_on(daemon, voices):
    """Each decision event of the call comes back as the module's JSON event, the last before the close."""
    placed = place_call(
        daemon.ws("/ws/freeswitch"), voices[0], "fs-answers", pace=4, rate=16_000, graceful=True
    )
    ear, said = await heard(daemon, "fs-answers", placed)
    assert {answer["type"] for answer in said} == {"json"}
    admitted, *answers = [answer["data"] for answer in said]
    assert admitted == {"type": "call.admitted", "call_id": "fs-answers"}
    decisions = ear.of("decision.changed", call_id="fs-answers")
    assert answers == [json.loads(event.model_dump_json()) for event in decisions]
    assert decisions


PROOFS = {
    "password": {"password": TOKEN},
    "header": {"module": "stream", "headers": {"Authorization": f"Bearer {TOKEN}"}},
    "metadata": {"metadata": json.dumps({"token": TOKEN})},
    "path": {"suffix": f"/{TOKEN}"},
}


@pytest.mark.parametrize("proof", PROOFS)
async def test_each_proof_opens_the_door(guarded, proof):
    """Basic authentication, a header, the metadata or the path; no answer but the close."""
    how = dict(PROOFS[proof])
    url = guarded.ws("/ws/freeswitch") + how.pop("suffix", "")
    said = await place_call(url, s16(tone(1.0)), f"proof-{proof}", pace=0, graceful=True, **how)
    assert said == []


@pytest.mark.parametrize("how", [{}, {"password": "wrong"}, {"metadata": json.dumps({"token": "wrong"})}])
async def test_without_proof_the_module_is_told(guarded, how):
    """As its error event; the call itself goes on without us."""
    said = await place_call(
        guarded.ws("/ws/freeswitch"), s16(tone(1.0)), "unproven", pace=0, graceful=True, **how
    )
    (error,) = said
    assert (error["type"], error["data"]["code"]) == ("error", "unauthorised")


async def test_one_call_too_many_is_told(guarded):
    """The first goes on while the second hears why it is not taken."""
    url = f"{guarded.ws('/ws/freeswitch')}/{TOKEN}"
    async with (
        Ear(guarded.ws("/ws/events"), TOKEN) as ear,
        connect(f"{url}?call_id=first", subprotocols=["audio.drachtio.org"]) as first,
    ):
        await first.send(bytes(320))
        await ear.until(lambda: ear.of("call.started", call_id="first"))
        (told,) = await place_call(url, s16(tone(1.0)), "second", pace=0, graceful=True)
    assert told["data"]["code"] == "full"
    assert "max_calls" in told["data"]["message"]


async def test_what_cannot_be_meant_is_told(daemon):
    """A rate that no module makes: the error names it."""
    async with connect(f"{daemon.ws('/ws/freeswitch')}?rate=11025") as socket:
        await socket.send(bytes(320))
        async with asyncio.timeout(30):
            error = json.loads(await socket.recv())
    assert error["data"]["code"] == "protocol_error"
    assert "11025" in error["data"]["message"]


async def test_another_subprotocol_is_refused(daemon):
    """The answer names the one that is spoken."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(daemon.ws("/ws/freeswitch"), subprotocols=["chat"])
    assert refused.value.response.status_code == 400
    assert b"audio.drachtio.org" in refused.value.response.body
