"""From a synthetic voice on the line to why it was called one, with the real model and the real programs."""

import asyncio
import io
import json
import os
import subprocess
import sys
import urllib.request

import pytest
import soundfile
import soxr

from fac_stream.evidence.key import new_key
from tests.running import running, s16, stream

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng"), pytest.mark.timeout(300)]

TEXT = """Good morning. I am calling about the invoice that you sent us last week. Could you please change the
account number before you pay it? Thank you very much, that is kind of you. Goodbye."""


@pytest.fixture(scope="module")
def voice():
    """A synthetic voice, 16 kHz s16le."""
    run = subprocess.run(["espeak-ng", "--stdout", TEXT], capture_output=True, check=True, timeout=60)
    samples, rate = soundfile.read(io.BytesIO(run.stdout), dtype="float32")
    return s16(soxr.resample(samples, rate, 16_000))


def get(daemon, path):
    """GET as JSON."""
    with urllib.request.urlopen(daemon.url + path, timeout=100) as answer:
        return json.load(answer)


def test_an_alert_is_explained_after_a_restart(tmp_path, voice):
    """The alert, its explanation and its sound outlive the daemon; API and command line say the same."""
    sections = {
        "evidence": {"purpose": "tests", "key": new_key()[0]},
        "decision": {"raise_at": 1.0},
    }
    hello = {"sample_rate": 16_000, "encoding": "pcm_s16le", "channels": 1, "call_id": "call-1"}
    with running(tmp_path, **sections) as daemon:
        asyncio.run(stream(daemon.ws("/ws/ingest"), hello, voice, bytes_per_s=32_000, pace=0))
        assert daemon.stop() == 0

    with running(tmp_path, **sections) as daemon:
        alert = get(daemon, "api/alerts?call_id=call-1")["alerts"][-1]
        record = get(daemon, f"api/alerts/{alert['alert_id']}")
        seen = get(daemon, f"api/alerts/{alert['alert_id']}/saliency")
        model = get(daemon, "api/model/status")
    command = [sys.executable, "-m", "fac_stream", "explain", alert["alert_id"], "--json"]
    told = subprocess.run(
        [*command, "--config", str(tmp_path / "config.yaml")],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path)},
        timeout=200,
    )

    why = record["raised"]["explanation"]
    assert 1 <= len(why["windows"]) <= 10
    assert (why["model"], why["bundle_version"]) == (model["model"], model["version"])
    strongest = why["windows"][0]
    assert [seen["start_s"], seen["end_s"]] in seen["windows"]
    assert seen["windows"][0] == [strongest["start_s"], strongest["end_s"]]
    said = json.loads(told.stdout)
    assert said["explanation"] == why
    assert said["looked_into"][0]["llr"] == pytest.approx(seen["llr"], abs=0.01)
    assert (tmp_path / said["picture"]).read_bytes().startswith(b"\x89PNG")
