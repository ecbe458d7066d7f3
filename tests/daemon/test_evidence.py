"""From an alert to its audio, its scores once more, a verdict, and a corpus that training takes."""

import asyncio
import csv
import io
import json
import subprocess
import time
import urllib.request
from contextlib import redirect_stdout

import pytest
import soundfile
import soxr

from fac_stream.cli import main
from fac_stream.storage.audit import entries, verify
from tests.running import Subscriber, running, s16, stream

pytestmark = [pytest.mark.daemon, pytest.mark.programs("espeak-ng")]

RAISE_ALWAYS = {"raise_at": 0.0}
"""Any speech is called synthetic: what is tried here is not the model."""
PURPOSE = "training of the fraud team"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def voice():
    """Eight seconds of synthetic speech, 16 kHz s16le."""
    text = "Good morning, this is your bank, and we need to talk about your account at once. " * 3
    run = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True, timeout=60)
    samples, rate = soundfile.read(io.BytesIO(run.stdout), dtype="float32")
    return s16(soxr.resample(samples, rate, 16_000)[: 8 * 16_000])


@pytest.fixture
def settings(tmp_path):
    """A daemon that keeps evidence, and its key."""
    key = tmp_path / "evidence.key"
    fac("evidence", "key", key)
    return {
        "decision": RAISE_ALWAYS,
        "evidence": {"purpose": PURPOSE, "key_file": str(key)},
    }


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The commands look where the daemon writes."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))


def fac(*arguments):
    """Run a command in this process, beside the daemon; its standard output."""
    shown = io.StringIO()
    with redirect_stdout(shown), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code
    return shown.getvalue()


def health(daemon):
    """What GET /api/health answers."""
    with urllib.request.urlopen(daemon.url + "api/health", timeout=30) as answer:
        return json.load(answer)


async def call(daemon, call_id, sound):
    """Send a call at once; the events about it."""
    subscriber, connected = Subscriber(), asyncio.Event()
    hello = {
        "sample_rate": 16000,
        "encoding": "pcm_s16le",
        "channels": 1,
        "call_id": call_id,
        "legs": ["caller"],
    }
    async with asyncio.TaskGroup() as group:
        group.create_task(
            subscriber.run(
                daemon.ws(f"/ws/events?call_id={call_id}"), lambda e: e.type == "alert.resolved", connected
            )
        )
        await connected.wait()
        await stream(daemon.ws("/ws/ingest"), hello, sound, bytes_per_s=32000, pace=0)
    return subscriber


def delete_when_ended(call_id, folder):
    """Delete a call; the history notes each second which calls ended."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return fac("history", "delete", call_id, "--config", folder / "config.yaml")
        except AssertionError:
            assert time.monotonic() < until
            time.sleep(0.2)


def kept(folder, count=1):
    """The files of evidence, once there are so many."""
    until = time.monotonic() + PATIENCE_S
    while len(found := sorted((folder / "evidence").glob("*.evidence"))) != count:
        assert time.monotonic() < until, (folder / "daemon.log").read_text()[-3000:]
        time.sleep(0.05)
    return found


@pytest.mark.timeout(300)  # five commands, of which training loads torch
async def test_from_an_alert_to_a_manifest_row(tmp_path, voice, settings):
    """The audio of an alert scores the same again bit for bit, and becomes a row that training takes."""
    with running(tmp_path, **settings) as daemon:
        subscriber = await call(daemon, "call-1", voice)
        (raised,) = subscriber.of("alert.raised")
        (path,) = kept(tmp_path)

        assert path.name == f"{raised.alert_id}.evidence"
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert health(daemon)["problems"] == []
        config = ("--config", tmp_path / "config.yaml")
        found = json.loads(fac("replay", raised.alert_id, *config, "--json"))

        scored = {e.index: e for e in subscriber.of("window.scored")}
        assert (found["same"], found["purpose"], found["bundle"]) == (True, PURPOSE, raised.model)
        assert any(window["score"] is not None for window in found["windows"])
        for window in found["windows"]:
            event = scored[window["index"]]
            assert (window["score"], window["again"]) == (event.score, event.score)
            assert (window["start_s"], window["end_s"]) == (event.start_s, event.end_s)
            assert (window["decision"], window["quality"]) == (event.decision, event.quality)
        assert any(window["end_s"] == raised.at_s for window in found["windows"])

        fac("alerts", "reject", raised.alert_id, "--by", "ann", *config)
        fac("alerts", "feedback", tmp_path / "out", *config)
        checked = json.loads(fac("train", "predecessor", tmp_path / "out", "--check", "--json"))
        with (tmp_path / "out" / "manifest.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert (row["label"], row["split"], row["purpose"]) == ("real", "train", PURPOSE)
        assert (checked["honest"], checked["clips"]) == (True, 1)
        assert daemon.stop() == 0
    log = tmp_path / "audit.jsonl"
    assert verify(log).good
    told = [(it.kind, it.facts["alert"]) for it in entries(log) if it.kind.startswith("evidence.")]
    assert told == [
        ("evidence.kept", raised.alert_id),
        ("evidence.read", raised.alert_id),
        ("evidence.read", raised.alert_id),
    ]


async def test_without_a_purpose_no_byte_of_audio_is_kept(tmp_path, voice):
    """With a key alone nothing is kept, and no folder is made."""
    with running(tmp_path, decision=RAISE_ALWAYS, evidence={"key": "A" * 43 + "="}) as daemon:
        subscriber = await call(daemon, "call-1", voice)
        assert subscriber.of("alert.raised")
        assert daemon.stop() == 0
    assert not (tmp_path / "evidence").exists()


async def test_a_bad_key_stops_no_call_and_is_told(tmp_path, voice, settings):
    """Where others can read the key the daemon goes on scoring and raising, and says what to do."""
    (tmp_path / "evidence.key").chmod(0o644)
    with running(tmp_path, **settings) as daemon:
        subscriber = await call(daemon, "call-1", voice)
        assert subscriber.of("alert.raised")
        (problem,) = [it for it in health(daemon)["problems"] if it.startswith("evidence: ")]
        assert "others can read this key: chmod 600" in problem
        assert daemon.stop() == 0
    assert not list((tmp_path).glob("evidence/*"))


async def test_deleting_a_call_deletes_its_evidence(tmp_path, voice, settings):
    """`fac history delete` reaches what is kept of the alerts of that call, and of no other."""
    with running(tmp_path, **settings) as daemon:
        await call(daemon, "call-1", voice)
        (first,) = kept(tmp_path)
        await call(daemon, "call-2", voice)
        (second,) = {*kept(tmp_path, 2)} - {first}
        delete_when_ended("call-1", tmp_path)
        assert kept(tmp_path) == [second]
        assert daemon.stop() == 0
