"""SIPREC against the real daemon: sipp is the recording client, sipp and ffmpeg send the audio."""

import asyncio
import json
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.peers.siprec import Client, g711, metadata, offer, place_call
from tests.running import START_S, Subscriber, running, s16, speech

pytestmark = [pytest.mark.daemon, pytest.mark.programs("sipp", "ffmpeg", "espeak-ng")]

SCENARIOS = Path(__file__).parent / "sipp"
WORDS = (
    "Good morning, this is about the invoice that you sent me in March. I paid it by bank transfer, "
    "and yesterday I got a reminder all the same. Could you please look into your books?"
)
SECONDS = 9
SIPREC = {"rtp": {"ports": [42_000, 42_099]}, "siprec": {"port": 0, "agents": ["*@agents.example.com"]}}
TRANSPORTS = {"udp": "u1", "tcp": "t1"}


@pytest.fixture(scope="module")
def pcm(tmp_path_factory):
    """A voice of espeak-ng's, 16 kHz ``pcm_s16le``."""
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    subprocess.run(["espeak-ng", "-w", str(path), WORDS], check=True)
    return s16(0.5 * speech([path], SECONDS))


@pytest.fixture(scope="module")
def siprec(tmp_path_factory):
    """A daemon that records one call at a time."""
    with running(tmp_path_factory.mktemp("siprec"), listeners=SIPREC, ingest={"max_calls": 1}) as daemon:
        daemon.siprec = listening(daemon)
        yield daemon


def listening(daemon):
    """Where the recording server is, once it is there."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with urllib.request.urlopen(daemon.url + "api/health", timeout=30) as answer:
            if address := json.load(answer)["listeners"].get("siprec"):
                return address
        time.sleep(0.05)
    raise TimeoutError(daemon.log.read_text())


async def sipp(address, scenario, folder, transport="udp"):
    """Run a scenario once; returns the exit status, and what it has to say where that is not 0."""
    process = await asyncio.create_subprocess_exec(
        "sipp",
        *(
            "-sf",
            str(SCENARIOS / f"{scenario}.xml"),
            "-m",
            "1",
            "-t",
            TRANSPORTS[transport],
            "-i",
            "127.0.0.1",
        ),
        *("-nostdin", "-trace_err", "-error_file", str(folder / "errors"), "-timeout", "60s", address),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"TERM": "dumb", "PATH": "/usr/bin:/bin"},
    )
    async with asyncio.timeout(90):
        said, _ = await process.communicate()
    errors = folder / "errors"
    return process.returncode, errors.read_text() if errors.exists() else said.decode()[-2000:]


async def watched(daemon, peer):
    """Events of the call that ``peer`` places, and what it returns."""
    subscriber, connected = Subscriber(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            subscriber.run(daemon.ws("ws/events"), lambda event: event.type == "call.ended", connected)
        )
        await connected.wait()
        done = await peer
    return subscriber, done


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sipp_has_its_call_scored(siprec, pcm, tmp_path, transport):
    """INVITE, real RTP, hold, resumption, an added stream and BYE, as an independent client does it."""
    (tmp_path / "voice.ul").write_bytes(g711(pcm))
    events, (status, said) = await watched(siprec, sipp(siprec.siprec, "recorded", tmp_path, transport))
    assert status == 0, said
    (started,) = events.of("call.started")
    (ended,) = events.of("call.ended")
    assert (started.source, started.legs) == ("siprec", ["p1"])
    assert started.metadata["participants"][0]["name"] == "Alice Caller"
    assert ended.reason == "completed"
    assert [leg.leg for leg in ended.legs][:1] == ["p1"]
    assert ended.duration_s == pytest.approx(SECONDS, abs=2.5)
    assert ended.lost_s > 0.5
    assert len([event for event in events.of("window.scored", leg="p1") if event.score is not None]) > 5


async def test_sipp_tells_who_joins_later(siprec, pcm, tmp_path):
    """Metadata that says only what has changed: the agent who takes over is a leg of their own."""
    (tmp_path / "voice.ul").write_bytes(g711(pcm))
    events, (status, said) = await watched(siprec, sipp(siprec.siprec, "joined", tmp_path))
    assert status == 0, said
    (ended,) = events.of("call.ended")
    assert (ended.reason, [leg.leg for leg in ended.legs]) == ("completed", ["p1", "agent"])
    assert all(leg.scored > 1 for leg in ended.legs)


async def test_sipp_is_told_that_there_is_no_room(siprec, tmp_path):
    """While a call goes on, the next of one allowed is refused with the time to come again."""
    async with Client(siprec.siprec, "first") as first:
        await first.change("INVITE", offer([40_000]), metadata(["1"]))
        status, said = await sipp(siprec.siprec, "refused", tmp_path)
        assert status == 0, said
        _, answer = await watched(siprec, first.ask("BYE"))
        assert answer.status == 200


async def test_ffmpeg_sends_the_audio(siprec, pcm, tmp_path):
    """RTP of an independent sender on both ports; each person is scored on their own."""
    voice = tmp_path / "voice.ul"
    voice.write_bytes(g711(pcm))

    async def play(line):
        read = ["-re", "-f", "mulaw", "-ar", "8000", "-i", str(voice), "-c:a", "pcm_mulaw", "-f", "rtp"]
        process = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-nostdin", "-loglevel", "error", *read, f"rtp://{line.address}:{line.port}"),
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0

    async def call():
        async with Client(siprec.siprec, "ffmpeg", "tcp") as src:
            lines = await src.change("INVITE", offer([40_000, 40_002]), metadata(["1", "2"]))
            await asyncio.gather(*map(play, lines))
            return (await src.ask("BYE")).status

    events, status = await watched(siprec, call())
    assert status == 200
    (ended,) = events.of("call.ended")
    assert [(leg.leg, leg.scored > 10) for leg in ended.legs] == [("caller", True), ("agent", True)]
    one, other = ([e.score for e in events.of("window.scored", leg=leg)] for leg in ("caller", "agent"))
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a is not None and b is not None]
    # The same audio at the same time; ffmpeg starts each sender at its own moment, the windows do not.
    assert all(a == pytest.approx(b, abs=0.05) for a, b in pairs)


async def test_the_emulated_client_places_a_call(siprec, pcm):
    """What the other tests of all paths rely on: the caller is scored, the silent agent is not."""
    events, _ = await watched(siprec, place_call(siprec.siprec, pcm[: 16_000 * 2 * 4], "emulated"))
    (ended,) = events.of("call.ended")
    assert (ended.reason, [leg.leg for leg in ended.legs]) == ("completed", ["caller", "agent"])
    assert [leg.scored > 0 for leg in ended.legs] == [True, False]
