"""The same call on every path into the daemon: one decision, and scores no further apart than codecs explain.

Each path is compared with a reference: the same samples, in the encoding that the path brings them in, over
``/ws/ingest``. The references are compared with each other: log-odds of calibrated scores, window by window.
"""

import asyncio
import io
import json
import math
import subprocess
import threading
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path as File

import numpy as np
import pytest
import soundfile

from fac_stream.events import CallEnded, CallSummary, DecisionChanged, WindowScored
from tests.peers.cable import Cable
from tests.peers.ear import Ear
from tests.peers.local import standard_input, web_page
from tests.peers.paths import LISTENERS, PATHS, REFERENCES, Address, Path, address_of
from tests.running import running, s16, speech

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng")]

SECONDS = 8
SECOND = 2 * 16_000
"""Bytes."""
WORDS = (
    "Good morning, this is about the invoice that you sent me in March, the one over four hundred and "
    "twenty pounds. I paid it by bank transfer on the ninth, and yesterday I got a reminder all the same. "
    "Could you please look into your books, and tell me what happened to my money?"
)
OURSELVES = {
    "url": Path(None, "url", "pcm16", ("mixed",)),
    "stdin": Path(None, "stdin", "pcm16", ("mixed",)),
}
"""Where nobody connects: the daemon listens there by itself."""
EVERY = PATHS | OURSELVES | {f"ingest-{codec}": path for codec, path in REFERENCES.items()}
CONNECTING = PATHS | {"ingest": REFERENCES["pcm16"]}
NEVER = 0.001
"""A pace at which the second packet does not come."""
SURE = {"raise_at": 0.0}
"""The shipped model takes espeak-ng for synthetic, but not by far: agreement must not hang on it."""

TIMED = {"websocket", "twilio", "audiohook", "url"}
"""Sources that lose nothing on the way, and say where in the call their audio belongs or need not say it.

With the others, the time of its arrival has to tell."""
STALL_S = 0.25
"""Senders that were kept from running for longer look as if they had paused."""
EXACT = 1e-3
"""Log-odds between equal samples: what the order of additions, which depends on the batch, makes of them."""
APART = {
    # One word of 8 bits a sample: noise 37 dB below the voice, a little different in either law.
    ("mulaw", "pcm8"): 0.6,
    ("alaw", "pcm8"): 0.6,
    ("alaw", "mulaw"): 0.6,
    # Nothing above 4 kHz is left, and such calls have a calibration of their own.
    ("pcm8", "pcm16"): 1.5,
    # ADPCM in two bands: noise, and a delay of 22 samples.
    ("g722", "pcm16"): 1.0,
    # Not made to keep the waveform; WHIP's first packets also come before anybody listens, so windows shift.
    ("opus", "pcm16"): 1.5,
}
"""Largest difference of a window's log-odds between two encodings of the same voice."""


@dataclass(frozen=True)
class Heard:
    """What the daemon says of a call."""

    summary: CallSummary
    ended: CallEnded
    windows: list[WindowScored]
    """Of the leg with the voice."""
    decisions: list[DecisionChanged]

    def log_odds(self):
        """Of every window; NaN where one was not scored."""
        scores = [math.nan if e.score is None else e.score for e in self.windows]
        return np.log(scores) - np.log1p(np.negative(scores))


def id_of(name):
    """A call id that every protocol can carry."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@pytest.fixture(scope="module")
def pcm(tmp_path_factory):
    """Some seconds that espeak-ng says, 16 kHz s16le."""
    path = tmp_path_factory.mktemp("voice") / "call.wav"
    subprocess.run(["espeak-ng", "-s", "150", "-w", str(path), WORDS], check=True)
    return s16(0.5 * speech([path], SECONDS))


@contextmanager
def daemon_on_every_path(folder, **settings):
    """A daemon that listens everywhere; gives its address."""
    with running(folder, listeners=LISTENERS, **settings) as daemon:
        yield address_of(daemon.url)


@pytest.fixture(scope="module")
def heard(pcm, tmp_path_factory):
    """Path → what was heard of the call that came on it; all at the same time."""
    wav = io.BytesIO()
    soundfile.write(wav, np.frombuffer(pcm, "<i2"), 16_000, format="WAV", subtype="PCM_16")
    ready = threading.Event()
    with standard_input() as pipe, web_page(wav.getvalue(), ready) as url:
        sources = [
            {"type": "url", "url": url, "call_id": id_of("url")},
            {"type": "stdin", "call_id": id_of("stdin")},
        ]
        # Nothing is skipped on a loaded machine, and a burst of it costs no audio.
        patient = {"batching": {"max_age_s": 60}, "ingest": {"queue_s": 60}}
        with daemon_on_every_path(
            tmp_path_factory.mktemp("every"),
            sources=sources,
            windows={"hop_s": 2.0},
            decision=SURE,
            server={"port": 0, "subscriber_queue": 10_000},
            **patient,
        ) as at:
            return asyncio.run(_hear_all(at, pcm, pipe, ready))


async def _hear_all(at, pcm, pipe, ready):
    async with Ear(at.ws("ws/events")) as ear:
        ready.set()
        dropped = _datagrams_dropped()
        watching = asyncio.ensure_future(_longest_stall())

        def speak():
            pipe.write(pcm)
            pipe.close()

        def is_over():
            ended = {e.call_id for e in ear.of("call.ended")}
            return {id_of(name) for name in OURSELVES} <= ended and all(
                e.call_id in ended for e in ear.of("call.started")
            )

        placed = {name: path for name, path in EVERY.items() if path.place}
        calls = [path.place(at, pcm, id_of(name), path.pace) for name, path in placed.items()]
        results = await asyncio.gather(asyncio.to_thread(speak), *calls, return_exceptions=True)
        await ear.until(is_over)
    failures = [
        (name, result)
        for name, result in zip(["stdin", *placed], results, strict=True)
        if isinstance(result, Exception)
    ]
    assert not failures
    watching.cancel()
    undisturbed = _datagrams_dropped() == dropped and await watching < STALL_S
    calls = await asyncio.to_thread(_calls, at)
    return {
        name: _call(ear, calls, name, path)
        for name, path in EVERY.items()
        if undisturbed or path.source in TIMED
    }


def _of(heard, name):
    if name not in heard:
        pytest.skip("this machine is so busy that neither datagrams nor the time of arrival can be relied on")
    return heard[name]


async def _longest_stall():
    """How long this process was kept from running, seconds, until cancelled."""
    loop, longest_s = asyncio.get_running_loop(), 0.0
    with suppress(asyncio.CancelledError):
        while True:
            before = loop.time()
            await asyncio.sleep(0.05)
            longest_s = max(longest_s, loop.time() - before - 0.05)
    return longest_s


def _datagrams_dropped():
    """By the kernel, for want of room (Linux)."""
    with suppress(FileNotFoundError):
        names, counts = [
            line.split()
            for line in File("/proc/net/snmp").read_text().splitlines()
            if line.startswith("Udp:")
        ]
        return int(counts[names.index("RcvbufErrors")])
    return 0


def _calls(at):
    with urllib.request.urlopen(at.url + "api/calls", timeout=30) as answer:
        return [CallSummary.model_validate(call) for call in json.load(answer)["calls"]]


def _call(ear, calls, name, path):
    # Only raw PCM over TCP cannot say who it is.
    (summary,) = [c for c in calls if (c.source == "tcp" if name == "tcp" else c.call_id == id_of(name))]
    (ended,) = ear.of("call.ended", call_id=summary.call_id)
    of_leg = {"call_id": summary.call_id, "leg": path.legs[0]}
    return Heard(summary, ended, ear.of("window.scored", **of_leg), ear.of("decision.changed", **of_leg))


@pytest.mark.parametrize("name", EVERY)
def test_a_call_is_complete(heard, name):
    """Every second of it is looked at; who is on its legs and what the system says of it arrives."""
    path, call = EVERY[name], _of(heard, name)
    assert call.summary.source == path.source
    assert tuple(leg.leg for leg in call.summary.legs) == path.legs
    assert path.says.items() <= call.summary.metadata.items()
    assert (call.ended.reason, call.ended.detail, call.ended.lost_s) == ("completed", None, 0.0)
    # What WebRTC sends before and after the voice is silence.
    assert 0 <= call.ended.duration_s - SECONDS <= (1.0 if path.source == "whip" else 0.05)
    assert [e.index for e in call.windows] == list(range(len(call.windows)))
    assert len(call.windows) >= SECONDS // 2
    assert all(e.skipped in (None, "no_speech") for e in call.windows)


@pytest.mark.parametrize("name", EVERY)
def test_the_decision_is_the_same(heard, name):
    """The decision does not depend on how a call comes in; where nothing is lost, nor does its course."""
    ours, reference = _of(heard, name), heard["ingest-pcm16"]
    assert ours.decisions[-1].decision == reference.decisions[-1].decision == "synthetic"
    if EVERY[name].codec in REFERENCES:
        same = heard[f"ingest-{EVERY[name].codec}"]
        assert [(e.decision, e.at_s) for e in ours.decisions] == [
            (e.decision, e.at_s) for e in same.decisions
        ]


@pytest.mark.parametrize("name", [name for name, path in EVERY.items() if path.codec in REFERENCES])
def test_the_path_adds_nothing(heard, name):
    """Equal samples have equal scores, whoever brought them in whatever packets."""
    reference = heard[f"ingest-{EVERY[name].codec}"].log_odds()
    np.testing.assert_allclose(_of(heard, name).log_odds(), reference, rtol=0, atol=EXACT)


@pytest.mark.parametrize(("codec", "reference"), APART)
def test_codecs_are_no_further_apart_than_they_explain(heard, codec, reference):
    """Each window's score moves no more than what the encoding does to the voice explains."""
    against = heard[f"ingest-{reference}"].log_odds()
    for name in [name for name, path in EVERY.items() if path.codec == codec]:
        ours = _of(heard, name).log_odds()[: len(against)]
        assert np.nanmax(np.abs(ours - against)) <= APART[codec, reference]


@pytest.fixture(scope="module")
def troubled(pcm, tmp_path_factory):
    """Events of a daemon to which calls come that fall silent, and calls whose connection breaks."""
    ingest = {"no_media_s": 0.5, "idle_timeout_s": 5.0}
    with daemon_on_every_path(tmp_path_factory.mktemp("troubled"), ingest=ingest) as at:
        return asyncio.run(_trouble(at, pcm))


async def _trouble(at, pcm):
    async with Ear(at.ws("ws/events")) as ear, asyncio.TaskGroup() as group:
        for name, path in CONNECTING.items():
            group.create_task(_fall_silent(ear, at, pcm, name, path))
            if path.resumes:
                group.create_task(_break_off(ear, at, pcm, name, path))
    return ear


async def _fall_silent(ear, at, pcm, name, path):
    """One packet, then nothing, until the daemon has had enough."""
    named = {} if name == "tcp" else {"call_id": id_of(f"silent {name}")}
    sending = asyncio.ensure_future(path.place(at, pcm, id_of(f"silent {name}"), NEVER))
    try:
        await ear.until(lambda: ear.of("call.started", source=path.source, **named))
        (started,) = ear.of("call.started", source=path.source, **named)
        await ear.until(lambda: ear.of("call.ended", call_id=started.call_id))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _break_off(ear, at, pcm, name, path):
    """After the first window the cable is pulled out; then the same call comes again and ends."""
    call = id_of(f"broken {name}")
    async with Cable(at.listeners[path.listener] if path.listener else at.host) as cable:
        listeners = at.listeners | ({path.listener: cable.address} if path.listener else {})
        through = Address(f"http://{cable.address}/", listeners)
        sending = asyncio.ensure_future(path.place(through, 3 * pcm, call, 1.0))
        await ear.until(lambda: ear.of("window.scored", call_id=call))
        cable.pull()
        await asyncio.gather(sending, return_exceptions=True)
    # A second passes; and once another call has been through, the daemon has seen what happened before.
    await REFERENCES["pcm16"].place(at, pcm[:SECOND], id_of(f"after {name}"), 1.0)
    await path.place(at, pcm[: 3 * SECOND], call, path.pace)
    await ear.until(lambda: ear.of("call.ended", call_id=call))


@pytest.mark.parametrize("name", CONNECTING)
def test_a_silent_source_is_told_and_not_waited_for(troubled, name):
    """Who is connected and sends nothing is named in an event, and given up in the end."""
    named = {"source": "tcp"} if name == "tcp" else {"call_id": id_of(f"silent {name}")}
    (call,) = {e.call_id for e in troubled.of("call.started", **named)}
    told = troubled.of("health.changed", call_id=call)
    assert [e.status for e in told][-1:] == ["no_media"]
    (ended,) = troubled.of("call.ended", call_id=call)
    assert ended.reason == "idle"
    assert told[-1].seq < ended.seq


@pytest.mark.parametrize("name", [name for name, path in CONNECTING.items() if path.resumes])
def test_a_call_goes_on_when_its_connection_comes_back(troubled, name):
    """The same id soon after: one call, with a gap where nobody was connected."""
    call = id_of(f"broken {name}")
    assert len(troubled.of("call.started", call_id=call)) == 1
    (ended,) = troubled.of("call.ended", call_id=call)
    assert ended.reason == "completed"
    assert ended.lost_s > 0
    windows = troubled.of("window.scored", call_id=call, leg=CONNECTING[name].legs[0])
    assert [e.index for e in windows] == list(range(len(windows)))
    assert ended.duration_s >= windows[-1].end_s
    assert max(b.start_s - a.start_s for a, b in pairwise(windows)) > 0.5  # none reaches across the gap


@pytest.fixture(scope="module")
def refused(pcm, tmp_path_factory):
    """Path → what was said to a call on it by a daemon that is full; and the calls that daemon knows of."""
    ingest = {"max_calls": 1, "idle_timeout_s": 300}
    with daemon_on_every_path(tmp_path_factory.mktemp("full"), ingest=ingest) as at:
        return asyncio.run(_refuse(at, pcm))


async def _refuse(at, pcm):
    async with Ear(at.ws("ws/events")) as ear:
        first = asyncio.ensure_future(REFERENCES["pcm16"].place(at, pcm, "the-only-one", NEVER))
        await ear.until(lambda: ear.of("call.started"))
        said = {}
        for name, path in CONNECTING.items():
            calls = [path.place(at, pcm, id_of(f"refused {name}"), 1.0)]
            said[name] = await asyncio.gather(*calls, return_exceptions=True)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    return said, ear.of("call.started")


@pytest.mark.parametrize("name", CONNECTING)
def test_a_daemon_that_is_full_says_so(refused, name):
    """Every protocol has its own way to say that there is no room; no call begins."""
    said, calls = refused
    assert CONNECTING[name].refusal in repr(said[name])
    assert len(calls) == 1
