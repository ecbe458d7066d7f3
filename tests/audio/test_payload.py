import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.audio.codecs import encode
from fac_stream.audio.concealment import PAST_S, conceal
from fac_stream.audio.frames import Encoding
from fac_stream.audio.payload import PayloadDecoder, duration
from fac_stream.errors import AudioError, DecodeError
from tests.fakes import tone

OPUS = Codec("OPUS", 48_000, 2)
ALL = [codec for codec in STATIC.values() if codec.decodable] + [OPUS, Codec("L16", 16_000)]


def opus_packets(samples, frame_ms=20):
    """Mono at 48 kHz, encoded by libopus."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.options = {"frame_duration": str(frame_ms)}
    encoder.open()
    size = 48 * frame_ms
    packets = []
    for start in range(0, len(samples) - size + 1, size):
        words = np.round(samples[start : start + size] * 32767).astype("<i2")
        frame = av.AudioFrame.from_ndarray(words[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def g722(samples):
    """Mono at 16 kHz, encoded by FFmpeg."""
    encoder = av.CodecContext.create("g722", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 16_000, "mono", "s16"
    words = np.round(samples * 32767).astype("<i2")
    frame = av.AudioFrame.from_ndarray(words[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = 16_000, 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.mark.parametrize(
    ("codec", "payload", "ticks"),
    [
        (STATIC[0], bytes(160), 160),
        (STATIC[8], bytes(240), 240),
        (STATIC[9], bytes(160), 160),
        (STATIC[10], bytes(40), 10),
        (STATIC[11], bytes(40), 20),
        # RFC 6716, table 2 and section 3.2: mode and frame size, then how many frames.
        (OPUS, b"\x00", 480),
        (OPUS, b"\x18\x00", 2880),
        (OPUS, b"\x60", 480),
        (OPUS, b"\x80\x00", 120),
        (OPUS, b"\xf8\x00", 960),
        (OPUS, b"\xf9\x00", 1920),
        (OPUS, b"\xfa\x00", 1920),
        (OPUS, b"\xfb\x03\x00", 2880),
    ],
)
def test_how_long_a_payload_lasts(codec, payload, ticks):
    """In ticks of the RTP clock, from the formats' definitions."""
    assert duration(codec, payload) == ticks


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (STATIC[0], b""),
        (STATIC[0], bytes(9000)),
        (STATIC[11], b"\x00"),
        (STATIC[10], bytes(6)),
        (OPUS, b""),
        (OPUS, b"\xfb"),
        (OPUS, b"\xfb\x00"),
        (OPUS, b"\xfb\x3f"),
    ],
)
def test_payloads_that_cannot_be_are_refused(codec, payload):
    """Empty, cut off inside a sample, or longer than any sender sends."""
    with pytest.raises(DecodeError):
        duration(codec, payload)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_linear_samples_are_big_endian(rate):
    """RFC 3551, section 4.5.11: network byte order, whatever this machine's is."""
    decoded = PayloadDecoder(Codec("L16", rate)).decode([b"\x40\x00\xc0\x00", b"\x00\x01"])

    assert decoded.tolist() == [0.5, -0.5, 1 / 32768]


def test_stereo_is_averaged():
    """A leg is one voice: its channels are mixed at half level each."""
    decoded = PayloadDecoder(STATIC[10]).decode([b"\x40\x00\x20\x00"])

    assert decoded.tolist() == [0.375]


@pytest.mark.parametrize(("number", "encoding"), [(0, Encoding.MULAW), (8, Encoding.ALAW)])
def test_both_laws_come_back_as_they_went(number, encoding):
    """A call in the codec's own law gets the same sound as was sent, for every code."""
    decoder = PayloadDecoder(STATIC[number])
    decoded = decoder.decode([bytes(range(256))])

    assert np.array_equal(decoder.decode([encode(decoded, encoding)]), decoded)


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_g722_is_wide_and_knows_no_packets(pieces):
    """A 5 kHz tone survives, at 16 kHz, the same however its bytes are cut into packets."""
    sent = tone(1, 5000.0)
    data = g722(sent)
    size = -(-len(data) // pieces)
    decoder = PayloadDecoder(STATIC[9])
    parts = [decoder.decode([data[i : i + size]]) for i in range(0, len(data), size)]
    decoded = np.concatenate(parts)

    assert len(decoded) == 2 * len(data) == 16_000
    assert np.array_equal(decoded, PayloadDecoder(STATIC[9]).decode([data]))
    spectrum = np.abs(np.fft.rfft(decoded[1600:]))
    assert spectrum.argmax() / len(decoded[1600:]) * 16_000 == pytest.approx(5000, abs=10)
    assert decoded[1600:].std() == pytest.approx(sent.std(), rel=0.05)


@pytest.mark.parametrize("frame_ms", [10, 20, 60])
def test_opus_is_decoded_at_48_khz(frame_ms):
    """Packets of any length give their samples; the tone is the one that was sent."""
    sent = tone(1.2, 1000.0, rate=48_000)
    packets = opus_packets(sent, frame_ms)
    decoded = PayloadDecoder(OPUS).decode(packets)

    assert len(decoded) == sum(duration(OPUS, packet) for packet in packets)
    steady = decoded[9600:48_000]
    assert np.abs(np.fft.rfft(steady)).argmax() / len(steady) * 48_000 == pytest.approx(1000, abs=3)
    assert steady.std() == pytest.approx(sent.std(), rel=0.1)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALL), st.lists(st.binary(max_size=200), max_size=4))
def test_any_payload_gives_as_much_as_it_says(codec, payloads):
    """Whatever the bytes: refused, or decoded to the samples that its duration promises."""
    lasting = []
    for payload in payloads:
        try:
            lasting.append((payload, duration(codec, payload)))
        except DecodeError:
            continue
    if not lasting:
        return
    decoded = PayloadDecoder(codec).decode([payload for payload, _ in lasting])
    expected = sum(ticks for _, ticks in lasting) * codec.sample_rate // codec.clock_rate
    assert decoded.shape == (expected,)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("codec", [STATIC[3], STATIC[18], Codec("L16", 96_000), Codec("PCMU", 16_000)])
def test_what_cannot_be_decoded_is_refused(codec):
    """A codec that is not ours is refused before the first packet."""
    with pytest.raises(AudioError):
        PayloadDecoder(codec)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("hertz", [100.0, 180.0])
def test_concealment_goes_on_with_the_pitch(rate, hertz):
    """The first 10 ms continue the tone at full level; after 60 ms there is silence."""
    past = tone(PAST_S, hertz, rate=rate)
    made_up = conceal(past, rate // 10, rate)
    continued = tone(1, hertz, rate=rate)[len(past) : len(past) + rate // 100]

    assert np.abs(made_up[: rate // 100] - continued).max() < 0.05
    assert np.abs(made_up[rate * 6 // 100 :]).max() < 1e-6
    assert np.abs(made_up).max() <= np.abs(past).max()


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 5000), st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_concealment_has_the_asked_length(past, length, rate):
    """After any past, also none, as many finite samples as were asked for."""
    made_up = conceal(np.zeros(past, np.float32), length, rate)

    assert made_up.shape == (length,)
    assert made_up.dtype == np.float32
    assert np.isfinite(made_up).all()
