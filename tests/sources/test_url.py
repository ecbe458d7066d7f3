import asyncio
import struct
import threading
from contextlib import aclosing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from fac_stream import config
from fac_stream.config_systems import UrlSource as Options
from fac_stream.errors import SourceError
from fac_stream.sources import url
from fac_stream.sources.url import UrlSource, public
from tests.fakes import tone

RATE = 16_000
ENDLESS = 0xFFFFFFFF
"""What a WAV header says whose writer does not know the length."""


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """No test waits for a back-off."""
    monkeypatch.setattr(url, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(url, "MAX_PAUSE_S", 0.02)


def wav(samples, rate=RATE, *, size=None):
    """A WAV file of one channel whose header declares ``size`` bytes."""
    data = np.round(samples * 32767).astype("<i2").tobytes()
    size = len(data) if size is None else size
    form = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return form + struct.pack("<4sI", b"data", size) + data


@contextmanager
def serving(*answers):
    """Serves these bodies over HTTP, one a request, then 404; each ends by closing the connection."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not left:
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(left.pop(0))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://user:s3cret@127.0.0.1:{server.server_port}/stream?key=s3cret"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def opened(address, *, reconnect_s=5.0, **options):
    """A source, opened as the daemon does."""
    options = Options(type="url", url=str(address), **options)
    return await asyncio.to_thread(UrlSource, options, config.Ingest(reconnect_s=reconnect_s))


async def heard(source):
    """All frames, and how it ended: None or the error."""
    frames = []
    try:
        async with asyncio.timeout(60), aclosing(source.frames()) as stream:
            async for frame in stream:
                frames += [frame]
    except SourceError as error:
        return frames, error
    return frames, None


def samples_of(frames):
    """The samples of frames, gaps left out."""
    return np.concatenate([np.frombuffer(frame.data, "<f4") for frame in frames])


async def test_a_recording_is_heard_whole(tmp_path):
    """A finite stream: every sample in its place, then the end."""
    path = tmp_path / "call.wav"
    voice = tone(3.0)
    soundfile.write(path, voice, RATE, subtype="FLOAT")

    source = await opened(path)
    frames, error = await heard(source)

    assert error is None
    assert source.format.legs == ("mixed",)
    assert frames[0].start_sample == 0
    assert frames[-1].start_sample + len(frames[-1].data) // 4 == len(voice)
    np.testing.assert_array_equal(samples_of(frames), voice)


async def test_channels_become_legs(tmp_path):
    """Each channel is a leg; names that do not fit are refused in words."""
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.zeros((RATE, 2), np.float32), RATE)

    source = await opened(path)

    assert source.format.legs == ("caller", "agent")
    with pytest.raises(SourceError, match="2 channels, but legs has 1"):
        await opened(path, legs=["caller"])


async def test_a_lost_stream_goes_on_after_a_gap():
    """The same source goes on over a new connection; what was missed is a gap."""
    first, second = tone(1.0, 500), tone(0.5, 900)
    with serving(wav(first, size=ENDLESS), wav(second, size=ENDLESS)) as address:
        source = await opened(address, reconnect_s=0.5)
        frames, error = await heard(source)

    ends = [frame.start_sample + len(frame.data) // 4 for frame in frames]
    gaps = [frame.start_sample - end for frame, end in zip(frames[1:], ends[:-1], strict=True)]
    assert len([gap for gap in gaps if gap]) <= 1
    assert len(samples_of(frames)) == len(first) + len(second)
    assert "404" in str(error)


async def test_a_stream_that_comes_back_otherwise_ends_the_call():
    """Windows of one call are of one format: another rate is another call."""
    with serving(wav(tone(1.0), size=ENDLESS), wav(tone(1.0), 8_000, size=ENDLESS)) as address:
        frames, error = await heard(await opened(address))

    assert len(samples_of(frames)) == RATE
    assert "another sample rate" in str(error)


async def test_without_reconnection_the_end_is_a_loss():
    """A stream without a length that stops was lost, not completed."""
    with serving(wav(tone(1.0), size=ENDLESS)) as address:
        frames, error = await heard(await opened(address, reconnect_s=0))

    assert len(samples_of(frames)) == RATE
    assert isinstance(error, SourceError)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no sound at all" * 100, "cannot be opened"),
        (wav(np.zeros(0)), "before any sound|Input.output error"),
        (b"#EXTM3U\n#EXTINF:1,\nfile://{path}\n", "cannot be opened|before any sound|no sound"),
        (b"ffconcat version 1.0\nfile {path}\n", "cannot be opened"),
    ],
)
async def test_what_is_no_sound_or_names_our_files_is_refused(tmp_path, body, words):
    """A server cannot make the daemon open files of its machine."""
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(tone(1.0)))
    with (
        serving(*[body.replace(b"{path}", bytes(path))] * 5) as address,
        pytest.raises(SourceError, match=words) as error,
    ):
        await opened(address)

    assert "s3cret" not in str(error.value)


async def test_errors_and_events_hold_no_password():
    """Neither who fails nor who works tells the address's secrets."""
    with serving(wav(tone(1.0), size=ENDLESS)) as address:
        source = await opened(address, reconnect_s=0)
        _, lost = await heard(source)
        with pytest.raises(SourceError) as refused:
            await opened(address)

    assert "s3cret" not in f"{source.metadata} {lost} {refused.value}"
    assert source.metadata["url"].endswith("/stream")


async def test_nobody_there_is_said_in_words():
    """A refused connection names the address and the cause."""
    with pytest.raises(SourceError, match=r"^http://127.0.0.1:9/x: cannot be opened: Connection refused$"):
        await opened("http://me:pw@127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:pass@camera.example:554/front?token=1", "rtsp://camera.example:554/front"),
        ("rtsp://user:p@ss/w?rd#@camera.example/front", "rtsp://camera.example/front"),
        ("https://radio.example/live.mp3#t=1", "https://radio.example/live.mp3"),
        ("rtsp://[2001:db8::1]/x", "rtsp://[2001:db8::1]/x"),
        ("/etc/fac/meeting.sdp", "/etc/fac/meeting.sdp"),
        ("hw:1,0", "hw:1,0"),
    ],
)
def test_addresses_are_shown_without_secrets(address, shown):
    """Scheme, host, port and path; no user, password, query or fragment."""
    assert public(address) == shown


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["rtsp", "http", "srt"]))
def test_no_password_is_ever_shown(user, password, scheme):
    """Whatever signs a password has, also unescaped."""
    assert public(f"{scheme}://{user}:{password}@host/path") == f"{scheme}://host/path"


def test_the_configuration_masks_addresses():
    """Neither `fac config show` nor a traceback shows the address or an option."""
    options = Options(type="url", url="rtsp://u:s3cret@h/", options={"headers": "Authorization: s3cret"})

    assert "s3cret" not in f"{options} {options!r} {options.model_dump_json()}"
