"""RTP from programs that we did not write: ffmpeg, GStreamer and baresip, over good lines and bad ones."""

import asyncio
import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from aiohttp import ClientSession

from fac_stream.audio.frames import Encoding
from tests.listeners.rtp_room import free_ports
from tests.peers import ingest
from tests.peers.udp_relay import UdpRelay
from tests.peers.voice import converted
from tests.running import Subscriber, running, s16, speech

pytestmark = [pytest.mark.daemon, pytest.mark.corpus, pytest.mark.timeout(240)]

SECONDS = 8
CODECS = {96: "L16/16000", 97: "opus/48000/2"}
RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16_000, "L16": 16_000, "OPUS": 16_000}
FFMPEG = {
    "PCMU": ["-c:a", "pcm_mulaw"],
    "PCMA": ["-c:a", "pcm_alaw"],
    "G722": ["-c:a", "g722"],
    "L16": ["-c:a", "pcm_s16be", "-payload_type", "96"],
    "OPUS": ["-c:a", "libopus", "-ar", "48000", "-b:a", "48k", "-payload_type", "97"],
}
GSTREAMER = {
    "PCMU": "mulawenc ! rtppcmupay",
    "PCMA": "alawenc ! rtppcmapay",
    "G722": "avenc_g722 ! rtpg722pay",
    "L16": "audioconvert ! audio/x-raw,format=S16BE ! rtpL16pay pt=96",
    "OPUS": "audioresample ! audio/x-raw,rate=48000 ! opusenc bitrate=48000 ! rtpopuspay pt=97",
}
REFERENCES = {"PCMU": Encoding.MULAW, "PCMA": Encoding.ALAW, "L16": Encoding.PCM_S16LE}
"""What arrives is what was sent, up to one step of rounding in the law's encoder."""
PATIENT = {"max_age_s": 60}
"""A machine that is too slow for live scoring still scores right."""
TOLERANCE = 0.15
"""Of a score, 0.6 in log-odds where it is steepest: two encoders may round a sample that lies between two
codes differently."""


@pytest.fixture(scope="module")
def voice(corpus_clips):
    """A call's speech, float32 at 16 kHz."""
    return speech(corpus_clips("real", "train", 4, min_s=2.5), SECONDS)


@pytest.fixture(scope="module")
def recordings(voice, tmp_path_factory):
    """Rate → a WAV file of the voice."""
    folder = tmp_path_factory.mktemp("voice")
    for rate in (8000, 16_000):
        samples = np.frombuffer(converted(s16(voice), rate, Encoding.PCM_S16LE), "<i2")
        soundfile.write(folder / f"{rate}.wav", samples, rate, subtype="PCM_16")
    return {rate: folder / f"{rate}.wav" for rate in (8000, 16_000)}


def ffmpeg(codec, path, port, ssrc):
    """The command that sends a file."""
    return [
        *("ffmpeg", "-v", "error", "-nostdin", "-re", "-i", str(path), *FFMPEG[codec]),
        *("-ssrc", str(ssrc), "-f", "rtp", f"rtp://127.0.0.1:{port}"),
    ]


def gstreamer(codec, path, port, ssrc):
    """The command that sends a file."""
    source = f"filesrc location={path} ! wavparse ! audioconvert ! audioresample"
    sink = f"udpsink host=127.0.0.1 port={port}"
    return ["gst-launch-1.0", "-q", *f"{source} ! {GSTREAMER[codec]} ssrc={ssrc} ! {sink}".split()]


async def program(command, *, fails=False):
    """Run it to its end; returns what it said."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=90,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert fails or done.returncode == 0, said
    return said


async def listened(daemon, work, ended):
    """Run ``work()`` while a subscriber listens; returns it once so many calls have ended."""
    subscriber, connected = Subscriber(), asyncio.Event()

    def done(_):
        return len(subscriber.of("call.ended")) == ended

    async with asyncio.TaskGroup() as group:
        group.create_task(subscriber.run(daemon.ws("/ws/events"), done, connected))
        await connected.wait()
        await work()
    return subscriber


def scores(subscriber, call_id):
    """``end_s → score`` of a call's windows."""
    return {
        round(e.end_s, 1): e.score
        for e in subscriber.of("window.scored", call_id=call_id)
        if e.score is not None
    }


@pytest.mark.programs("ffmpeg", "gst-launch-1.0")
@pytest.mark.parametrize("sender", [ffmpeg, gstreamer], ids=["ffmpeg", "gstreamer"])
async def test_senders_of_every_codec_at_one_port(tmp_path, voice, recordings, sender):
    """Five codecs at a time: each a call, complete, scored like the same sound over /ws/ingest."""
    port = free_ports(2)
    rtp = {"port": port, "codecs": CODECS}
    with running(
        tmp_path, listeners={"rtp": rtp}, ingest={"idle_timeout_s": 3.0}, batching=PATIENT
    ) as daemon:

        async def work():
            commands = [
                sender(codec, recordings[rate], port, 100 + number)
                for number, (codec, rate) in enumerate(RATES.items())
            ]
            await asyncio.gather(*map(program, commands))
            for codec, encoding in REFERENCES.items():
                await ingest.place_call(
                    *(daemon.ws("/ws/ingest"), s16(voice), codec),
                    pace=0,
                    rate=RATES[codec],
                    encoding=encoding,
                )

        heard = await listened(daemon, work, len(RATES) + len(REFERENCES))

        started = {e.metadata["codec"].split("/")[0]: e for e in heard.of("call.started") if e.metadata}
        assert set(started) == set(RATES)
        for codec, event in started.items():
            (ended,) = heard.of("call.ended", call_id=event.call_id)
            assert (event.source, ended.reason, ended.lost_s) == ("rtp", "idle", 0.0), codec
            assert ended.duration_s == pytest.approx(SECONDS, abs=0.2)
            live = scores(heard, event.call_id)
            reference = scores(heard, codec if codec in REFERENCES else "L16")
            assert {e.skipped for e in heard.of("window.scored", call_id=event.call_id)} <= {
                None,
                "no_speech",
            }
            if codec in REFERENCES:
                common = live.keys() & reference.keys()
                assert len(common) >= len(reference) - 2
                assert all(live[at] == pytest.approx(reference[at], abs=TOLERANCE) for at in common), codec
            else:
                assert live


@pytest.mark.programs("ffmpeg", "gst-launch-1.0")
@pytest.mark.parametrize("codec", ["PCMU", "OPUS"])
async def test_a_line_that_loses_and_delays(tmp_path, recordings, codec):
    """5 % loss and 80 ms jitter: the losses are counted one by one, concealed, and the call is scored."""
    listeners = {"rtp": {"ports": (first := free_ports(4), first + 3)}}
    with running(tmp_path, listeners=listeners, batching=PATIENT) as daemon:

        async def work():
            wanted = {
                "call_id": "bad-line",
                "codecs": {"0": "PCMU/8000", **{str(n): c for n, c in CODECS.items()}},
            }
            async with ClientSession(daemon.url) as http:
                async with http.post("/api/rtp", json=wanted) as answer:
                    leg = (await answer.json())["legs"]["mixed"]
                async with UdpRelay((leg["host"], leg["port"]), loss=0.05, jitter_s=0.08) as relay:
                    address = relay.address[1]
                    await program(gstreamer(codec, recordings[RATES[codec]], address, 7))
                async with http.delete("/api/rtp/bad-line") as answer:
                    counts = (await answer.json())["legs"]["mixed"]
            assert relay.lost > 5
            assert counts["received"] == relay.forwarded
            # What was lost behind the last packet nobody can know of; what came too late counts as lost, too.
            assert relay.lost - 3 <= counts["lost"] - counts["late"] <= relay.lost
            assert counts["late"] < relay.forwarded / 20

        heard = await listened(daemon, work, 1)

        (ended,) = heard.of("call.ended")
        assert ended.reason == "completed"
        assert ended.duration_s == pytest.approx(SECONDS, abs=0.3)
        windows = heard.of("window.scored")
        assert {e.skipped for e in windows} <= {None, "no_speech", "loss"}
        assert len([e for e in windows if e.score is not None]) >= len(windows) / 2


UAS = """<?xml version="1.0"?>
<scenario name="a PBX that sends the media to the recorder">
  <recv request="INVITE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=pbx
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

{sdp}]]></send>
  <recv request="ACK"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""
BARESIP = """
module_path /usr/lib/baresip/modules
module {codec}.so
module aufile.so
module_tmp account.so
module_app menu.so
sip_listen 127.0.0.1:{sip}
audio_source aufile,{wav}
audio_player aufile,/dev/null
audio_alert aufile,/dev/null
"""


@pytest.mark.programs("baresip", "sipp")
@pytest.mark.parametrize(("codec", "module"), [("PCMU/8000", "g711"), ("G722/8000", "g722")])
async def test_a_softphone(tmp_path, recordings, codec, module):
    """A baresip call, put through by a SIP server that gives it our SDP answer: heard until it hangs up."""
    payload = {"PCMU/8000": "0", "G722/8000": "9"}[codec]
    pbx, phone = free_ports(2), free_ports(2)
    home = tmp_path / "baresip"
    home.mkdir()
    wav = recordings[8000 if module == "g711" else 16_000]
    (home / "config").write_text(BARESIP.format(codec=module, sip=phone, wav=wav))
    (home / "accounts").write_text("<sip:alice@127.0.0.1>;regint=0\n")
    listeners = {"rtp": {"ports": (first := free_ports(4), first + 3)}}
    with running(tmp_path, listeners=listeners, batching=PATIENT) as daemon:

        async def work():
            async with ClientSession(daemon.url) as http:
                async with http.post(
                    "/api/rtp", json={"call_id": "phone", "codecs": {payload: codec}}
                ) as answer:
                    sdp = (await answer.json())["sdp"]
                (tmp_path / "uas.xml").write_text(UAS.format(sdp=sdp.replace("\r\n", "\n")))
                pbx_command = [
                    *("sipp", "-sf", str(tmp_path / "uas.xml"), "-i", "127.0.0.1", "-p", str(pbx), "-m", "1"),
                    *("-nostdin", "-timeout", "60"),
                ]
                dial = f"/dial sip:bob@127.0.0.1:{pbx}"
                _, log = await asyncio.gather(
                    program(pbx_command),
                    program(["baresip", "-4", "-f", str(home), "-t", "7", "-e", dial], fails=True),
                )
                async with http.delete("/api/rtp/phone") as answer:
                    counts = (await answer.json())["legs"]["mixed"]
            assert counts["received"] > 100, f"{json.dumps(counts)}\n{log}"
            assert counts["lost"] == counts["foreign"] == 0

        heard = await listened(daemon, work, 1)

        assert [e.reason for e in heard.of("call.ended")] == ["completed"]
        assert any(e.score is not None for e in heard.of("window.scored"))


def test_the_programs_are_the_debian_ones():
    """Where they are missing the tests above are skipped, and this one says which."""
    missing = [name for name in ("ffmpeg", "gst-launch-1.0", "baresip", "sipp") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; scripts/setup.sh dev installs them")
