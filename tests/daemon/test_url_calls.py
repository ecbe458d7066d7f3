"""Streams by URL, standard input and TCP, with peers that others wrote: ffmpeg, GStreamer's RTSP server."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from tests.running import Daemon, running, speech

pytestmark = [
    pytest.mark.daemon,
    pytest.mark.corpus,
    pytest.mark.timeout(240),
    pytest.mark.programs("ffmpeg"),
]

PATIENCE_S = 90
FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin"]
RTSP_SERVER = Path(__file__).parents[1] / "peers" / "rtsp_server.py"


@pytest.fixture(scope="module")
def recording(corpus_clips, tmp_path_factory):
    """Twelve seconds of a machine's voice as a WAV file."""
    path = tmp_path_factory.mktemp("recording") / "call.wav"
    soundfile.write(path, speech(corpus_clips("fake", "dev", 3, min_s=4), 12), 16_000, subtype="PCM_16")
    return path


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def program(*command, **options):
    """A program that runs while the block does; without patience for it afterwards."""
    with subprocess.Popen([str(part) for part in command], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def ffmpeg(*arguments, **options):
    """ffmpeg, running while the block does."""
    return program(*FFMPEG, *arguments, **options)


def get(daemon, path):
    """GET as JSON; None for 404."""
    try:
        with urllib.request.urlopen(daemon.url + path, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


async def until(daemon, path, condition):
    """What an address answers, once that fulfils the condition."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await asyncio.to_thread(get, daemon, path)
            if answer and condition(answer):
                return answer
            await asyncio.sleep(0.2)


def scored(count):
    """Whether a call has so many scored windows."""
    return lambda call: call["legs"][0]["scored"] >= count


def ended(call):
    """Whether a call is over."""
    return call["end_reason"] is not None


async def test_http_stream_goes_on_under_its_id_after_a_break(tmp_path, recording):
    """MP3 over HTTP from an ffmpeg that dies and comes back: one call, with a gap."""
    url = f"http://user:s3cret@127.0.0.1:{free_port()}/live?key=s3cret"
    serve = ["-re", "-stream_loop", "-1", "-i", recording, "-f", "mp3", "-listen", "1", url]
    with running(
        tmp_path,
        sources=[{"type": "url", "url": url, "call_id": "radio"}],
        ingest={"reconnect_s": 60, "idle_timeout_s": 90},
    ) as daemon:
        health = await until(daemon, "api/health", lambda answer: answer["problems"])
        with ffmpeg(*serve):
            before = await until(daemon, "api/calls/radio", scored(3))
        with ffmpeg(*serve):
            after = await until(daemon, "api/calls/radio", scored(before["legs"][0]["scored"] + 4))

        assert "s3cret" not in json.dumps([health, before, after])
        assert before["source"] == "url"
        assert before["metadata"]["url"].startswith("http://127.0.0.1:")
        assert (after["started_at"], after["end_reason"]) == (before["started_at"], None)
        daemon.stop()
        log = daemon.log.read_text()
    assert "stream is back" in log
    assert "s3cret" not in log
    lost_s = [json.loads(line) for line in log.splitlines() if '"call ended"' in line]
    assert lost_s[-1]["reason"] == "shutdown"


async def test_rtp_by_a_session_description(tmp_path, recording):
    """RTP from ffmpeg, by the SDP file that it writes."""
    description = tmp_path / "call.sdp"
    target = f"rtp://127.0.0.1:{free_port(socket.SOCK_DGRAM) & ~1}"
    send = ["-re", "-stream_loop", "-1", "-i", recording, "-c:a", "pcm_mulaw", "-ar", "8000"]
    with (
        ffmpeg(*send, "-f", "rtp", "-sdp_file", description, target),
        running(tmp_path, sources=[{"type": "url", "url": str(description), "call_id": "sdp"}]) as daemon,
    ):
        call = await until(daemon, "api/calls/sdp", scored(4))

    assert call["sample_rate"] == 8_000


@pytest.mark.programs("/usr/bin/python3")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_rtsp_with_a_password(tmp_path, recording, transport):
    """GStreamer's RTSP server asks for a password; its recording is heard to the end, and nobody is told."""
    port = free_port()
    server = [RTSP_SERVER, recording, port, "user", "s3cret"]
    with program("/usr/bin/python3", *server, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout.readline() != "ready\n":
            miss = pytest.fail if os.environ.get("CI") else pytest.skip
            miss("python3-gi and gir1.2-gst-rtsp-server-1.0 are not installed")
        source = {
            "type": "url",
            "url": f"rtsp://user:s3cret@127.0.0.1:{port}/call",
            "options": {"rtsp_transport": transport},
            "call_id": "camera",
        }
        with running(tmp_path, sources=[source]) as daemon:
            call = await until(daemon, "api/calls/camera", ended)
            log = daemon.log.read_text()

    assert (call["end_reason"], call["sample_rate"]) == ("completed", 8_000)
    assert call["duration_s"] == pytest.approx(12.0, abs=0.2)
    assert call["legs"][0]["scored"] > 10
    assert call["metadata"] == {"url": f"rtsp://127.0.0.1:{port}/call"}
    assert "s3cret" not in log


async def test_ffmpeg_pipes_into_standard_input(tmp_path, recording):
    """`ffmpeg … | fac run --stdin`: the whole recording is one call; the daemon stays to show it."""
    raw = ["-i", recording, "-f", "alaw", "-ar", "8000", "-ac", "1", "-"]
    with (
        ffmpeg(*raw, stdout=subprocess.PIPE) as sender,
        commanded(tmp_path, "--stdin", "--rate", "8000", "--encoding", "alaw", stdin=sender.stdout) as daemon,
    ):
        found = await until(daemon, "api/calls", lambda answer: answer["calls"] and ended(answer["calls"][0]))
        assert daemon.stop() == 0

    [call] = found["calls"]
    assert (call["source"], call["end_reason"], call["encoding"]) == ("stdin", "completed", "alaw")
    assert call["duration_s"] == pytest.approx(12.0, abs=0.05)
    assert call["legs"][0]["scored"] > 15


async def test_a_url_on_the_command_line(tmp_path, recording):
    """`fac run --url FILE`: anything that FFmpeg opens."""
    with commanded(tmp_path, "--url", recording, stdin=subprocess.DEVNULL) as daemon:
        found = await until(daemon, "api/calls", lambda answer: answer["calls"] and ended(answer["calls"][0]))

    [call] = found["calls"]
    assert (call["source"], call["end_reason"], call["duration_s"]) == ("url", "completed", 12.0)


async def test_ffmpeg_sends_raw_pcm_over_tcp(tmp_path, recording):
    """`ffmpeg … -f s16le tcp://…`: a connection is a call with two legs."""
    with running(tmp_path, listeners={"tcp": {"port": 0, "legs": ["caller", "agent"]}}) as daemon:
        health = await until(daemon, "api/health", lambda answer: answer["listeners"])
        target = f"tcp://{health['listeners']['tcp']}"
        with ffmpeg("-re", "-i", recording, "-f", "s16le", "-ar", "16000", "-ac", "2", target) as sender:
            assert await asyncio.to_thread(sender.wait, 60) == 0
        found = await until(daemon, "api/calls", lambda answer: answer["calls"] and ended(answer["calls"][0]))

    [call] = found["calls"]
    assert (call["source"], call["end_reason"], call["duration_s"]) == ("tcp", "completed", 12.0)
    assert [leg["leg"] for leg in call["legs"]] == ["caller", "agent"]
    assert call["legs"][0]["scored"] == call["legs"][1]["scored"] > 15


@contextmanager
def commanded(folder, *arguments, stdin):
    """`fac run` with these arguments on a free port."""
    log = folder / "daemon.log"
    command = [sys.executable, "-m", "fac_stream", "run", "--port", "0", *map(str, arguments)]
    with (
        log.open("wb") as errors,
        program(
            *command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"XDG_STATE_HOME": str(folder)},
        ) as process,
    ):
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        found = (re.search(r"https?://\S+/", line) for line in process.stdout)
        address = next(filter(None, found), None)
        watchdog.cancel()
        assert address, f"the daemon did not start:\n{log.read_text()}"
        yield Daemon(process, address[0], log)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
