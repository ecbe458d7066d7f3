"""A call in, a verdict out: real speech through real sockets to events, webhook and history."""

import asyncio
import base64
import hashlib
import hmac
import json
import urllib.request

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.recording import score_recording
from fac_stream.config import Config
from fac_stream.events import CallDetail
from fac_stream.scoring.backend import open_scorer
from tests.running import Receiver, Subscriber, running, s16, speech, stream

pytestmark = [pytest.mark.daemon, pytest.mark.corpus]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECONDS = 12


def get(daemon, path):
    """GET as JSON."""
    with urllib.request.urlopen(daemon.url + path, timeout=30) as answer:
        return json.load(answer)


async def call(daemon, hello, data, *, bytes_per_s, pace):
    """Stream a call while a subscriber listens; returns (last message, subscriber)."""
    subscriber, connected = Subscriber(), asyncio.Event()
    events = daemon.ws(f"/ws/events?call_id={hello['call_id']}")
    async with asyncio.TaskGroup() as group:
        group.create_task(subscriber.run(events, lambda e: e.type == "call.ended", connected))
        await connected.wait()
        ended = await stream(daemon.ws("/ws/ingest"), hello, data, bytes_per_s=bytes_per_s, pace=pace)
    return ended, subscriber


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Score samples as `fac scan` does, with the shipped model."""
    config = Config()
    scorer = open_scorer(config.model)
    gate = SpeechGate(config.speech.threshold, config.speech.min_level_dbfs)

    def score(samples, rate=16_000):
        path = tmp_path_factory.mktemp("offline") / "call.wav"
        soundfile.write(path, samples, rate, subtype="PCM_16")
        return score_recording(path, scorer, gate, config)

    return score


@pytest.fixture(scope="module")
def voices(corpus_clips, offline):
    """A human and a synthetic voice on which the shipped model is sure: 12 s at 16 kHz each.

    Which ones these are is the model's business; here it only has to be the same live as offline.
    """

    def surest(label, pick):
        calls = [speech([path], SECONDS) for path in corpus_clips(label, "train", 24, min_s=2.9)]
        return pick(calls, key=lambda samples: offline(samples).fakeness_score or 0.5)

    return {"human": surest("real", min), "synthetic": surest("fake", max)}


async def test_a_synthetic_caller_is_found_while_the_call_goes_on(tmp_path, voices, offline):
    """At real-time pace: scores as offline, a decision, an alert, a signed webhook, and the history."""
    hook = {"secret": SECRET, "first_retry_s": 0.05, "allow_private": ["127.0.0.0/8"]}
    with (
        Receiver(failures=1) as receiver,
        running(tmp_path, alerts={"webhooks": [{"url": receiver.url, **hook}]}) as daemon,
    ):
        stereo = np.stack([voices["synthetic"], voices["human"]], axis=1)
        hello = {
            "sample_rate": 16000,
            "encoding": "pcm_s16le",
            "channels": 2,
            "call_id": "e2e-1",
            "legs": ["caller", "agent"],
            "metadata": {"queue": "claims"},
        }
        ended, subscriber = await call(daemon, hello, s16(stereo), bytes_per_s=64000, pace=1)

        assert (ended["type"], ended["reason"]) == ("ended", "completed")
        events = subscriber.events
        assert events[0].type == "snapshot"
        assert sorted({e.seq for e in events}) == [e.seq for e in events]
        (started,) = subscriber.of("call.started")
        assert (started.metadata, started.legs) == ({"queue": "claims"}, ["caller", "agent"])

        for leg, voice in (("caller", "synthetic"), ("agent", "human")):
            live = subscriber.of("window.scored", leg=leg)
            expected = offline(voices[voice]).windows
            assert list(range(len(expected))) == [e.index for e in live]
            for event, window in zip(live, expected, strict=True):
                assert event.end_s == pytest.approx(window.end_s)
                assert event.skipped == window.skipped
                assert event.score == pytest.approx(window.score, abs=2e-3)

        assert subscriber.of("decision.changed", leg="caller")[-1].decision == "synthetic"
        assert all(e.decision == "human" for e in subscriber.of("decision.changed", leg="agent"))
        (raised,) = subscriber.of("alert.raised")
        assert raised.leg == "caller"
        assert raised.at_s < SECONDS

        headers, body = await asyncio.to_thread(receiver.posts.get, timeout=30)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
        assert "v1," + base64.b64encode(digest).decode() == headers["webhook-signature"]
        assert raised.alert_id == json.loads(body)["data"]["alert_id"]

        detail = CallDetail.model_validate(get(daemon, "api/calls/e2e-1"))
        assert {leg.leg: leg.decision for leg in detail.legs} == {"caller": "synthetic", "agent": "human"}
        assert [e.score for e in subscriber.of("window.scored", leg="caller")] == [
            point.score for point in detail.timeline["caller"]
        ]
        assert [c["call_id"] for c in get(daemon, "api/calls")["calls"]] == ["e2e-1"]
        assert daemon.stop() == 0


async def test_pace_makes_no_difference(daemon, voices):
    """The same 8 kHz µ-law call at 8 times real time and at once gives the same scores, with none skipped."""
    samples = voices["synthetic"][::2]
    data = encode(samples, Encoding.MULAW)
    scores = {}
    for pace in (8, 0):
        hello = {"sample_rate": 8000, "encoding": "mulaw", "channels": 1, "call_id": f"pace-{pace}"}
        _, subscriber = await call(daemon, hello, data, bytes_per_s=8000, pace=pace)
        scores[pace] = [(e.end_s, e.score, e.skipped) for e in subscriber.of("window.scored")]

    assert scores[8] == scores[0]
    assert {None, "no_speech"} >= {skipped for _, _, skipped in scores[0]}


async def test_ten_calls_at_a_time(daemon, voices):
    """Ten 8 and 16 kHz calls in real time: every window of every call is scored or said to be silent."""

    async def one(number):
        rate = (8000, 16000)[number % 2]
        samples = np.roll(voices["human"], 16000 * number)[: 6 * 16000 : 16000 // rate]
        hello = {"sample_rate": rate, "encoding": "pcm_s16le", "channels": 1, "call_id": f"ten-{number}"}
        return await call(daemon, hello, s16(samples), bytes_per_s=2 * rate, pace=1)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(10)]

    for task in tasks:
        ended, subscriber = task.result()
        assert ended["reason"] == "completed"
        windows = subscriber.of("window.scored")
        assert [e.end_s for e in windows] == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]
        assert {None, "no_speech"} >= {e.skipped for e in windows}


async def test_silence_is_no_verdict(daemon):
    """Silence, a tone and noise are looked at and get no score; the leg stays unknown, never human."""
    t = np.arange(4 * 16000) / 16000
    noise = np.random.default_rng(1).normal(0, 0.1, len(t))
    samples = np.concatenate([np.zeros(len(t)), 0.5 * np.sin(2 * np.pi * 440 * t), noise])
    hello = {"sample_rate": 16000, "encoding": "pcm_s16le", "channels": 1, "call_id": "silence"}

    ended, subscriber = await call(daemon, hello, s16(samples), bytes_per_s=32000, pace=0)

    assert {"no_speech"} == {e.skipped for e in subscriber.of("window.scored")}
    assert {None} == {e.score for e in subscriber.of("window.scored")}
    assert subscriber.of("decision.changed") == []
    assert [leg["decision"] for leg in ended["legs"]] == ["unknown"]


async def test_a_stop_ends_calls_and_says_so(daemon, voices):
    """SIGTERM in mid-call: the end of the call is published with its reason, and the daemon exits with 0."""
    subscriber, connected = Subscriber(), asyncio.Event()
    hello = {"sample_rate": 16000, "encoding": "pcm_s16le", "channels": 1, "call_id": "stopped"}

    async with asyncio.TaskGroup() as group:
        listening = group.create_task(
            subscriber.run(daemon.ws("/ws/events"), lambda e: e.type == "call.ended", connected)
        )
        await connected.wait()
        async with connect(daemon.ws("/ws/ingest")) as socket:
            await socket.send(json.dumps(hello))
            await socket.send(s16(voices["human"][: 3 * 16000]))
            await subscriber.scored.wait()
            status = await asyncio.to_thread(daemon.stop)
            await listening

    assert status == 0
    assert subscriber.of("call.ended")[0].reason == "shutdown"
