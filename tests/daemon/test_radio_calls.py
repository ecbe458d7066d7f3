"""Streams of stations: Debian's Icecast server, and HLS as ffmpeg cuts it."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import soundfile

from tests.daemon.test_url_calls import ffmpeg, free_port, scored, until
from tests.peers.icecast import PASSWORD, icecast
from tests.running import running, speech

pytestmark = [
    pytest.mark.daemon,
    pytest.mark.corpus,
    pytest.mark.timeout(240),
    pytest.mark.programs("ffmpeg"),
]

FORMATS = {
    "mp3": ["-c:a", "libmp3lame", "-content_type", "audio/mpeg", "-f", "mp3"],
    "ogg": ["-c:a", "libopus", "-content_type", "application/ogg", "-f", "ogg"],
}
PATIENT = {"ingest": {"reconnect_s": 60, "idle_timeout_s": 90}, "batching": {"max_age_s": 60}}


@pytest.fixture(scope="module")
def recording(corpus_clips, tmp_path_factory):
    """Twelve seconds of a machine's voice as a WAV file."""
    path = tmp_path_factory.mktemp("recording") / "call.wav"
    soundfile.write(path, speech(corpus_clips("fake", "dev", 3, min_s=4), 12), 16_000, subtype="PCM_16")
    return path


class Quiet(SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *args):
        """Tell nobody."""


@contextmanager
def files(folder):
    """A folder over HTTP; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.programs("icecast2")
@pytest.mark.parametrize("kind", FORMATS)
async def test_a_station_on_icecast_is_scored(tmp_path, recording, kind):
    """A source sends to a real Icecast, the daemon listens there like anybody else."""
    mount = f"127.0.0.1:{free_port()}/live"
    source = {"type": "url", "url": f"http://{mount}", "call_id": "radio"}
    port = int(mount.partition("/")[0].partition(":")[2])
    sending = ["-re", "-stream_loop", "-1", "-i", recording, *FORMATS[kind]]
    with (
        icecast(tmp_path, port),
        ffmpeg(*sending, f"icecast://source:{PASSWORD}@{mount}"),
        running(tmp_path, sources=[source], **PATIENT) as daemon,
    ):
        call = await until(daemon, "api/calls/radio", scored(6))

    assert (call["source"], call["end_reason"]) == ("url", None)
    assert call["sample_rate"] == {"mp3": 16_000, "ogg": 48_000}[kind]


async def test_hls_is_scored_across_its_pieces(tmp_path, recording):
    """A playlist that moves on, and pieces of two seconds: windows reach across where they meet."""
    folder = tmp_path / "hls"
    folder.mkdir()
    pieces = ["-hls_time", "2", "-hls_list_size", "5", "-hls_flags", "delete_segments"]
    sending = ["-re", "-stream_loop", "-1", "-i", recording, "-c:a", "aac", "-f", "hls", *pieces]
    with files(folder) as url, ffmpeg(*sending, folder / "live.m3u8") as sender:
        source = {"type": "url", "url": f"{url}/live.m3u8", "call_id": "radio"}
        with running(tmp_path, sources=[source], **PATIENT) as daemon:
            call = await until(daemon, "api/calls/radio", scored(12))
        assert sender.poll() is None

    ends = [point["end_s"] for point in call["timeline"]["mixed"]]
    # Before its first frame is complete, the encoder leaves a hole.
    assert ends == pytest.approx([ends[0] + 0.5 * number for number in range(len(ends))], abs=0.01)
