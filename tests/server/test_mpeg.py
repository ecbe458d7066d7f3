import io

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from fac_stream.server.mpeg import is_mpeg_stream
from tests.fakes import scored_at


def compressed(container, codec, rate):
    """Two seconds, without a tag before the first frame."""
    file = io.BytesIO()
    options = {"id3v2_version": "0", "write_xing": "0"} if container == "mp3" else {}
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(scored_at(1.0, 2.0, rate).reshape(1, -1), "flt", "mono")
        frame.sample_rate = rate
        for piece in (*av.AudioResampler(format=stream.format, frame_size=1152).resample(frame), None):
            output.mux(stream.encode(piece))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [*(("mp3", "libmp3lame", rate) for rate in (8000, 16_000, 44_100)), ("adts", "aac", 16_000)],
)
def test_streams_without_a_tag_are_recognised(container, codec, rate):
    """All three versions of MPEG audio, and AAC."""
    data = compressed(container, codec, rate)
    assert data[0] == 0xFF
    assert is_mpeg_stream(data)


@given(st.binary(max_size=64).map(lambda data: b"\xff\xfb" + data) | st.binary(max_size=64))
@example(b"\xff\xfb\x90")
def test_scraps_are_no_streams(data):
    """Whatever the bytes, what is shorter than three frames is none."""
    assert not is_mpeg_stream(b"\xff\xfb\x90" + data)


@pytest.mark.parametrize("encoding", Encoding)
def test_samples_are_no_streams(encoding):
    """Digital silence, quiet noise and a loud tone, wherever they begin."""
    noise = np.random.default_rng(2).standard_normal(16_000).astype(np.float32)
    sounds = [0 * noise, -np.full(16_000, 1 / 32_768, np.float32), 0.01 * noise, 0.2 * noise, scored_at(0.5)]
    for sound in sounds:
        data = encode(np.clip(sound, -1, 1).reshape(-1, 1), encoding)
        assert not any(is_mpeg_stream(data[start:]) for start in range(0, 8000, encoding.width))
