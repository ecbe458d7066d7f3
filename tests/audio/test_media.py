import io
import time
import wave
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.media import open_media
from fac_stream.errors import AudioError, DecodeError, NoAudioError

RATE = 16_000


def tone(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A 440 Hz tone, float32 ``[n, channels]``; each further channel is half as loud."""
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return (sine[:, None] / 2.0 ** np.arange(channels)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """16-bit WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def compressed(samples: np.ndarray, container: str, codec: str, rate: int) -> bytes:
    """A file written by FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        layout = "mono" if samples.shape[1] == 1 else "stereo"
        stream = output.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", stream.layout.name)
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    """The whole file, ``[n, channels]``."""
    with open_media(io.BytesIO(data)) as media:
        return np.concatenate(list(media.blocks()))


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_wav_comes_back_sample_for_sample(rate, channels):
    """Rate, channels and every sample of a WAV survive."""
    samples = tone(1.7, rate, channels)
    with open_media(io.BytesIO(wav(samples, rate))) as media:
        assert (media.sample_rate, media.channels) == (rate, channels)
        assert media.duration_s == pytest.approx(1.7, abs=1e-3)
        back = np.concatenate(list(media.blocks()))
    assert back.dtype == np.float32
    assert np.array_equal(back, np.rint(samples * 32767).astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp3", "libmp3lame", 44100),
        ("ogg", "libopus", 48000),
        ("ogg", "vorbis", 44100),
        ("flac", "flac", 16000),
        ("ipod", "aac", 48000),
        ("webm", "libopus", 48000),
    ],
)
def test_compressed_formats_decode(container, codec, rate):
    """The formats people upload come back as the tone that went in."""
    samples = read(compressed(tone(3.0, rate, 2), container, codec, rate))
    assert samples.shape[1] == 2
    assert len(samples) == pytest.approx(3.0 * rate, abs=0.1 * rate)
    spectrum = np.abs(np.fft.rfft(samples[rate : 2 * rate, 0]))
    assert np.argmax(spectrum) == 440


def test_blocks_are_about_a_second():
    """A long file is never held whole: blocks stay near one second."""
    with open_media(io.BytesIO(wav(tone(20.0)))) as media:
        sizes = [len(block) for block in media.blocks()]
    assert sum(sizes) == 20 * RATE
    assert max(sizes) < 1.2 * RATE


def test_a_path_and_a_file_are_read_alike(tmp_path):
    """A path gives what the same bytes in memory give."""
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(tone(2.5)))
    with open_media(path) as media:
        assert np.array_equal(np.concatenate(list(media.blocks())), read(path.read_bytes()))


def test_the_callers_file_stays_open(tmp_path):
    """A file that the caller opened is the caller's to close."""
    file = io.BytesIO(wav(tone(1.0)))
    with open_media(file) as media:
        list(media.blocks())
    assert not file.closed


def test_what_is_left_of_a_cut_file_is_read():
    """A file that breaks off yields the part before the break."""
    data = wav(tone(4.0))
    assert len(read(data[: len(data) // 2])) == pytest.approx(2 * RATE, abs=2048)
    mp3 = compressed(tone(4.0, 44100), "mp3", "libmp3lame", 44100)
    assert len(read(mp3[: len(mp3) // 2])) == pytest.approx(2 * 44100, abs=8192)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"not a sound " * 100, b"RIFF", b"\r\n\r\n" + b"x" * 10_000]
)
def test_bytes_without_sound_are_refused_in_words(data):
    """Empty and foreign files are DecodeErrors."""
    with pytest.raises(DecodeError, match="no format that can be decoded"):
        open_media(io.BytesIO(data))


def test_a_header_alone_is_no_sound():
    """A file that was cut off before its first sample is told apart from a foreign one."""
    with pytest.raises(NoAudioError, match="empty, cut off or damaged"):
        open_media(io.BytesIO(wav(tone(1.0))[:44]))


def test_a_file_without_sound_track_is_refused():
    """A silent film is told apart from a broken file."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(NoAudioError, match="no sound track"):
        open_media(io.BytesIO(file.getvalue()))


def test_a_missing_path_is_refused_in_words(tmp_path):
    """The error names the path and the reason; a folder is no file."""
    with pytest.raises(DecodeError, match=r"nothing\.wav: cannot be read: No such file"):
        open_media(tmp_path / "nothing.wav")
    with pytest.raises(DecodeError, match="cannot be read: Is a directory"):
        open_media(tmp_path)


@pytest.mark.parametrize(("rate", "channels", "word"), [(2000, 1, "2000 Hz"), (16000, 9, "9 channels")])
def test_what_is_out_of_bounds_is_refused(rate, channels, word):
    """Rates and channel counts beyond the bounds are AudioErrors that state the value."""
    with pytest.raises(AudioError, match=word):
        open_media(io.BytesIO(wav(tone(1.0, rate, channels), rate)))


def test_more_than_a_day_is_refused(monkeypatch):
    """The bound on the duration counts decoded samples, not the header."""
    monkeypatch.setattr("fac_stream.audio.media.MAX_DURATION_S", 3)
    with open_media(io.BytesIO(wav(tone(5.0)))) as media, pytest.raises(AudioError, match="longer than"):
        list(media.blocks())


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {path}\n",
        "ffconcat version 1.0\nfile {name}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_playlists_open_nothing(tmp_path, monkeypatch, text):
    """An upload that names another file or a socket is refused at once instead of opening it."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(tone(3.0)))
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(DecodeError):
        open_media(io.BytesIO(text.format(path=secret, name=secret.name).encode()))
    playlist = tmp_path / "upload.wav"
    playlist.write_text(text.format(path=secret, name=secret.name))
    with pytest.raises(DecodeError):
        open_media(Path(playlist))
    assert time.monotonic() - started < 10, "it waited for a peer"


@cache
def intact(kind: str) -> bytes:
    """A second of sound in one of four formats."""
    codec, rate = {"mp3": ("libmp3lame", 44100), "ogg": ("libopus", 48000)}.get(kind, (kind, RATE))
    return wav(tone(1.0)) if kind == "wav" else compressed(tone(1.0, rate), kind, codec, rate)


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "flac"])
@settings(deadline=None, max_examples=40)
@given(
    damage=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=8)), max_size=8),
    kept=st.integers(0, 20_000),
)
def test_damaged_files_are_read_or_refused(kind, damage, kept):
    """Whatever is broken in a file, its sound comes out within bounds, or an AudioError does."""
    data = bytearray(intact(kind)[:kept])
    for position, patch in damage:
        data[position : position + len(patch)] = patch
    try:
        with open_media(io.BytesIO(bytes(data))) as media:
            for block in media.blocks():
                assert block.shape[1] == media.channels
    except AudioError:
        return
    assert 4000 <= media.sample_rate <= 192_000
    assert 1 <= media.channels <= 8
