"""A call from a sound device: what the speakers play goes through the real daemon to its events."""

import asyncio
import json
import time
import urllib.request
from contextlib import aclosing

import pytest

from fac_stream.client import subscribe
from tests.pulse import SINK, pulse  # noqa: F401 - a fixture
from tests.running import running, speech

pytestmark = pytest.mark.daemon

WINDOWS = 4


def problem_of(daemon):
    """The status and the problem that the daemon tells once it has tried its source."""
    problems = []
    while not problems:
        time.sleep(0.05)  # nothing is published when a source cannot start
        with urllib.request.urlopen(f"{daemon.url}api/health", timeout=30) as answer:
            report = json.load(answer)
        problems = [problem for problem in report["problems"] if not problem.endswith(": starting")]
    return report["status"], *problems


@pytest.mark.audio_device
@pytest.mark.corpus
async def test_what_the_speakers_play_is_scored(pulse, corpus_clips, tmp_path):  # noqa: F811 - the fixture
    """Speech on a null sink is heard at its monitor, scored window by window, and its loss is told."""
    voice = speech(corpus_clips("real", "test", 6, min_s=3), 120)
    microphone = {"type": "microphone", "device": f"{SINK}.monitor", "leg": "agent", "call_id": "desk"}
    scored = []
    with running(tmp_path, sources=[microphone]) as daemon, pulse.playing(voice, 16_000):
        stream = subscribe(daemon.url, types=["window.scored", "call.ended"], call_id="desk")
        async with asyncio.timeout(90), aclosing(stream) as events:
            async for event in events:
                if event.type == "window.scored" and event.score is not None:
                    scored.append(event)
                if len(scored) == WINDOWS:
                    pulse.process.kill()
                if event.type == "call.ended":
                    break
        status, problem = problem_of(daemon)

    assert len(scored) >= WINDOWS
    assert all(window.leg == "agent" and window.speech_s > 0 for window in scored)
    # The last one may be what was left when the server died: nobody waits for that.
    assert all(window.latency_ms is not None for window in scored[:-1])
    assert event.reason == "source_lost"
    assert status == "degraded"
    assert SINK in problem


def test_a_microphone_that_is_missing_keeps_nobody_from_calling(tmp_path):
    """The daemon serves, and says what is wrong."""
    with running(tmp_path, sources=[{"type": "microphone", "device": "no such device"}]) as daemon:
        status, problem = problem_of(daemon)

    assert status == "degraded"
    assert "no sound device fits 'no such device'" in problem
