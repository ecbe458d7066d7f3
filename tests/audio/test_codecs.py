import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import Encoding
from fac_stream.errors import AudioError

G711 = [Encoding.MULAW, Encoding.ALAW]
SAMPLE = st.integers(-32768, 32767)


@settings(deadline=None)
@given(st.lists(SAMPLE, max_size=60))
def test_16_bit_round_trip_is_exact(values):
    """Every 16-bit sample survives decoding and encoding."""
    data = np.array(values, "<i2").tobytes()
    assert encode(decode(data, Encoding.PCM_S16LE, 1), Encoding.PCM_S16LE) == data


@settings(deadline=None)
@given(st.lists(st.floats(-8.0, 8.0, width=32), max_size=60))
def test_float_round_trip_is_exact(values):
    """Every float sample within bounds survives decoding and encoding."""
    data = np.array(values, "<f4").tobytes()
    assert encode(decode(data, Encoding.PCM_F32LE, 1), Encoding.PCM_F32LE) == data


@pytest.mark.parametrize("encoding", G711)
def test_g711_decodes_as_ffmpeg_does(encoding):
    """All 256 codes of both laws match an independent implementation."""
    peer = av.CodecContext.create(f"pcm_{encoding}", "r")
    peer.sample_rate, peer.layout = 8000, "mono"
    expected = peer.decode(av.Packet(bytes(range(256))))[0].to_ndarray().ravel()
    assert np.array_equal(decode(bytes(range(256)), encoding, 1)[:, 0] * 32768, expected)


@pytest.mark.parametrize("encoding", G711)
def test_g711_codes_survive_a_round_trip(encoding):
    """Encoding a decoded code gives a code of the same value (mu-law has two zeros)."""
    values = decode(bytes(range(256)), encoding, 1)
    assert np.array_equal(decode(encode(values, encoding), encoding, 1), values)


@pytest.mark.parametrize(("encoding", "step"), [(Encoding.MULAW, 8), (Encoding.ALAW, 16)])
def test_g711_error_is_half_a_step(encoding, step):
    """Every 16-bit value comes back within half a quantisation step, and louder never decodes quieter."""
    linear = np.arange(-32768, 32768)
    coded = decode(encode((linear / 32768).astype(np.float32), encoding), encoding, 1)[:, 0] * 32768
    # A segment's step doubles with each power of two; the largest value of the law clips what lies above.
    bias = 132 if encoding is Encoding.MULAW else 0
    exponent = np.floor(np.log2(np.maximum(np.abs(linear) + bias, 1)))
    widest = np.maximum(2.0 ** (exponent - 4), step)
    inside = np.abs(linear) < 32635
    assert np.all(np.abs(coded - linear)[inside] <= widest[inside] / 2)
    assert np.all(np.diff(coded) >= 0)


def test_channels_are_interleaved():
    """Two channels come out as two columns."""
    data = np.array([1, -1, 2, -2, 3, -3], "<i2").tobytes()
    samples = decode(data, Encoding.PCM_S16LE, 2)
    assert samples.shape == (3, 2)
    assert np.array_equal(samples[:, 0], -samples[:, 1])


@pytest.mark.parametrize(
    ("encoding", "channels", "size"),
    [
        (Encoding.PCM_S16LE, 1, 3),
        (Encoding.PCM_F32LE, 1, 6),
        (Encoding.MULAW, 2, 5),
        (Encoding.PCM_S16LE, 3, 8),
    ],
)
def test_a_cut_sample_is_refused(encoding, channels, size):
    """Byte counts that end inside a sample are an error that names the right multiple."""
    with pytest.raises(AudioError, match=f"multiples of {encoding.width * channels} bytes"):
        decode(bytes(size), encoding, channels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    """NaN and infinity neither enter nor leave, wherever they stand."""
    samples = np.zeros(100, np.float32)
    samples[37] = value
    with pytest.raises(AudioError, match="NaN or infinity"):
        decode(samples.tobytes(), Encoding.PCM_F32LE, 1)
    with pytest.raises(AudioError, match="NaN or infinity"):
        encode(samples, Encoding.PCM_S16LE)


def test_unscaled_floats_are_refused():
    """Floats in the range of 16-bit integers are told apart from sound."""
    with pytest.raises(AudioError, match="divide 16-bit integers by 32768"):
        decode(np.float32([0.0, -20000.0]).tobytes(), Encoding.PCM_F32LE, 1)


def test_encoding_clips_rather_than_wraps():
    """What exceeds full scale stays loud."""
    clipped = decode(encode(np.float32([1.5, -1.5]), Encoding.PCM_S16LE), Encoding.PCM_S16LE, 1)[:, 0]
    assert clipped[0] > 0.99
    assert clipped[1] == -1.0


@settings(deadline=None)
@given(st.binary(max_size=64), st.sampled_from(Encoding), st.integers(1, 8))
def test_any_bytes_are_decoded_or_refused(data, encoding, channels):
    """Accepted means finite, right shape, bounded; anything else is an AudioError."""
    try:
        samples = decode(data, encoding, channels)
    except AudioError:
        return
    assert samples.shape == (len(data) // encoding.width // channels, channels)
    assert samples.dtype == np.float32
    assert np.all(np.abs(samples) <= 8.0)
