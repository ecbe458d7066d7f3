"""What is wrong with a daemon is told apart from what is wrong with a voice, and ends nothing."""

import asyncio
import shutil

import numpy as np
import pytest
import soundfile

from fac_model.bundle import DEFAULT, Bundle
from tests.daemon.test_faults import HELLO, ask, until
from tests.running import running, s16, stream

pytestmark = [pytest.mark.daemon, pytest.mark.timeout(240)]

SOUND = s16(0.1 * np.sin(np.arange(4 * 16_000)))


async def test_a_model_that_fails_its_test_and_a_dead_source_are_told(tmp_path):
    """Both are in health at once and alerts soon; calls are scored on; mended, the alert is over."""
    shutil.copytree(DEFAULT, tmp_path / "bundle")
    known = Bundle.load(tmp_path / "bundle").manifest.self_test
    Bundle.load(tmp_path / "bundle").update(self_test=[[logit + 3.0 for logit in row] for row in known])
    recording = tmp_path / "call.wav"
    settings = {
        "model": {"bundle": str(tmp_path / "bundle")},
        "sources": [{"type": "file", "path": str(recording)}],
        "alerts": {"health": {"after_s": 0.5, "look_every_s": 0.5, "min_free_mb": 0}},
    }
    with running(tmp_path, **settings) as daemon:
        health = await until(daemon, "api/health", lambda it: len(it["problems"]) == 2)
        listed = await until(daemon, "api/alerts?state=firing", lambda it: len(it["alerts"]) == 2)
        ended = await stream(daemon.ws("/ws/ingest"), HELLO, SOUND, bytes_per_s=32_000, pace=0)
        assert ended["legs"][0]["windows"] > 0

        assert await asyncio.to_thread(ask, daemon, "api/alerts?category=fraud") == (200, {"alerts": []})
        soundfile.write(tmp_path / "made.wav", 0.1 * np.sin(np.arange(64_000)), 16_000)
        (tmp_path / "made.wav").rename(recording)
        over = await until(daemon, "api/alerts?state=resolved", lambda it: it["alerts"])
        assert daemon.stop() == 0

    assert any("model self-test" in problem for problem in health["problems"])
    rules = {it["raised"]["rule"]: it for it in listed["alerts"]}
    assert set(rules) == {"model-self-test", "source-dead"}
    assert {it["category"] for it in listed["alerts"]} == {"health"}
    assert {it["raised"]["call_id"] for it in listed["alerts"]} == {None}
    assert over["alerts"][0]["alert_id"] == rules["source-dead"]["alert_id"]
    assert over["alerts"][0]["resolved"]["reason"] == "cleared"
