import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import AudioError
from fac_stream.protocols.rtp import Packet
from fac_stream.protocols.rtp_run import Run
from fac_stream.protocols.rtp_stream import CONCEAL_S, SILENCE_S, RtpStream
from tests.fakes import tone

MULAW = AudioFormat(8000, Encoding.MULAW, ("caller",))
WIDE = AudioFormat(16_000, Encoding.PCM_S16LE, ("caller",))
CODECS = {**STATIC, 118: Codec("L16", 16_000), 101: Codec("TELEPHONE-EVENT", 8000)}
SPEECH = encode(tone(8, rate=8000), Encoding.MULAW)


def stream(fmt=MULAW):
    """A leg with the usual bounds."""
    return RtpStream(CODECS, fmt, "caller", 0.06, 0.3)


def pcmu(number, **changes):
    """The ``number``-th 20 ms of ``SPEECH``."""
    fields = {
        "payload_type": 0,
        "sequence": (65_000 + number) & 0xFFFF,
        "timestamp": (2**32 - 8000 + 160 * number) & 0xFFFFFFFF,
        "ssrc": 1,
        "payload": SPEECH[160 * number : 160 * (number + 1)],
    }
    return Packet(**fields | changes)


def heard(rtp, arrivals):
    """All audio for ``(at, packet)``, and what is left at the end."""
    media = [piece for at, packet in arrivals for piece in rtp.receive(packet, at)]
    return media + rtp.finish()


def layout(media, width=1):
    """``(from, to, concealed)`` of contiguous pieces of the same kind."""
    parts = []
    for piece in media:
        end = piece.at + len(piece.data) // width
        if parts and parts[-1][1:] == (piece.at, piece.concealed):
            parts[-1] = (parts[-1][0], end, piece.concealed)
        else:
            parts.append((piece.at, end, piece.concealed))
    return parts


def samples(media, encoding):
    """The audio, gaps left out."""
    return decode(b"".join(piece.data for piece in media), encoding, 1)[:, 0]


def on_time(numbers):
    """Packets that come when they were sent."""
    return [(0.02 * number, pcmu(number)) for number in numbers]


def test_a_call_without_loss_comes_through_as_it_was():
    """PCMU into a µ-law call: the same sound, one stretch, across both wrap-arounds."""
    media = heard(stream(), on_time(range(400)))

    assert layout(media) == [(0, 64_000, False)]
    assert np.array_equal(samples(media, Encoding.MULAW), decode(SPEECH, Encoding.MULAW, 1)[:, 0])


def test_a_short_loss_is_made_up_and_marked():
    """Two packets of 20 ms are concealed, marked as that, and everything else stays in its place."""
    media = heard(stream(), on_time(n for n in range(100) if n not in (40, 41)))

    assert layout(media) == [(0, 6400, False), (6400, 6720, True), (6720, 16_000, False)]
    made_up = samples(media, Encoding.MULAW)[6400:6720]
    assert 0.05 < np.abs(made_up[:80]).max() <= 0.35
    # The tone goes on through the seam: an untreated hole would differ by the amplitude.
    assert np.abs(made_up[:80] - decode(SPEECH, Encoding.MULAW, 1)[6400:6480, 0]).max() < 0.1


def test_a_long_loss_is_a_gap():
    """Beyond ``CONCEAL_S`` nothing is made up: the hole shows in the positions."""
    lost = round(CONCEAL_S / 0.02) + 1
    media = heard(stream(), on_time([*range(40), *range(40 + lost, 100)]))

    assert layout(media) == [(0, 6400, False), (6400 + 160 * lost, 16_000, False)]


def test_loss_is_marked_at_the_right_samples_after_resampling():
    """In a 16 kHz call the marks lie where the lost samples do, though the resampler answers later."""
    media = heard(stream(WIDE), on_time(n for n in range(100) if n != 50))

    assert layout(media, 2) == [(0, 16_000, False), (16_000, 16_320, True), (16_320, 32_000, False)]


def test_silence_between_talk_spurts_is_silence():
    """A sender that sends nothing while nobody speaks: short pauses are filled, and count as heard."""
    packets = on_time(range(50)) + [
        (0.02 * (n + 20), pcmu(n, timestamp=(2**32 - 8000 + 160 * (n + 20)) & 0xFFFFFFFF))
        for n in range(50, 100)
    ]
    media = heard(stream(), packets)

    assert layout(media) == [(0, 120 * 160, False)]
    assert np.abs(samples(media, Encoding.MULAW)[8000 : 8000 + 20 * 160]).max() == 0


def test_a_long_silence_is_a_gap():
    """Beyond ``SILENCE_S`` a pause is no audio to judge by."""
    pause = round(SILENCE_S / 0.02) + 1
    packets = on_time(range(50)) + [
        (0.02 * (n + pause), pcmu(n, timestamp=(2**32 - 8000 + 160 * (n + pause)) & 0xFFFFFFFF))
        for n in range(50, 100)
    ]

    assert layout(heard(stream(), packets)) == [
        (0, 8000, False),
        (8000 + 160 * pause, 16_000 + 160 * pause, False),
    ]


def test_key_events_leave_no_hole():
    """Telephone events share the sequence: their numbers are not lost, their time is silence."""
    packets = on_time(range(50))
    packets += [
        (
            1.0 + 0.02 * n,
            pcmu(50 + n, payload_type=101, payload=b"\x05\x0a\x03\x20", timestamp=(2**32 - 8000 + 8000)),
        )
        for n in range(5)
    ]
    packets += on_time(range(55, 100))
    rtp = stream()
    media = heard(
        rtp,
        [
            (at, Packet(**{f: getattr(p, f) for f in p.__slots__} | {"timestamp": p.timestamp & 0xFFFFFFFF}))
            for at, p in packets
        ],
    )

    assert layout(media) == [(0, 16_000, False)]
    assert rtp.counts.lost == 0
    assert rtp.unknown == 5


def test_a_codec_may_change_in_the_middle():
    """From PCMU to PCMA, G.722 and L16: one stretch of the same tone, each at its own rate."""
    alaw = encode(tone(8, rate=8000), Encoding.ALAW)
    words = encode(tone(8), Encoding.PCM_S16LE)
    big = np.frombuffer(words, "<i2").astype(">i2").tobytes()
    packets = on_time(range(50))
    packets += [
        (0.02 * n, pcmu(n, payload_type=8, payload=alaw[160 * n : 160 * n + 160])) for n in range(50, 100)
    ]
    # L16 has a clock of its own: its timestamps begin anew.
    packets += [
        (0.02 * n, pcmu(n, payload_type=118, payload=big[640 * n : 640 * n + 640], timestamp=320 * n))
        for n in range(100, 150)
    ]
    media = heard(stream(WIDE), packets)

    assert layout(media, 2) == [(0, 48_000, False)]
    whole = samples(media, Encoding.PCM_S16LE)
    expected = tone(3)
    steady = np.r_[500:15_500, 16_500:31_500, 32_500:47_500]
    assert np.abs(whole[steady] - expected[steady]).max() < 0.02


def test_a_new_ssrc_continues_where_the_clock_stands():
    """After a transfer the timestamps say nothing: the pause that was heard becomes the gap."""
    packets = on_time(range(50))
    packets += [(3.0 + 0.02 * n, pcmu(n, ssrc=2, timestamp=99 + 160 * n)) for n in range(50)]
    (first, second) = layout(heard(stream(), packets))

    assert first == (0, 8000, False)
    assert second[0] == pytest.approx(24_000, abs=160)


def test_timestamps_that_jump_are_not_believed():
    """A sender that restarts its timestamps in mid-sequence makes no gap of hours, and none backwards."""
    for jump in (2**30, -(2**30), 50_000_000):
        packets = on_time(range(50))
        packets += [
            (0.02 * n, pcmu(n, timestamp=(2**32 - 8000 + 160 * n + jump) & 0xFFFFFFFF))
            for n in range(50, 100)
        ]
        assert layout(heard(stream(), packets)) == [(0, 16_000, False)]


def test_hold_is_a_gap():
    """A stream that is finished and taken up again continues where the clock stands."""
    rtp = stream()
    media = heard(rtp, on_time(range(50)))
    media += heard(rtp, on_time(range(100, 150)))
    first, second = layout(media)

    assert first == (0, 8000, False)
    assert second[0] == pytest.approx(16_000, abs=160)


def test_what_waits_leaves_when_time_passes():
    """The end of a stream does not wait for a packet that never comes."""
    rtp = stream()
    media = [piece for at, packet in on_time(range(7)) for piece in rtp.receive(packet, at)]
    media += rtp.advance(0.13 + 0.5)

    assert layout(media) == [(0, 7 * 160, False)]


def test_a_call_of_8_khz_takes_no_wide_codec():
    """A codec that does not fit the call's format is a mistake of the caller, and said so."""
    with pytest.raises(AudioError, match="does not fit"):
        Run(STATIC[9], MULAW, "caller", 0)


PAYLOADS = st.binary(max_size=400)
JUNK = st.builds(
    Packet,
    st.sampled_from([0, 8, 9, 10, 11, 13, 18, 101, 118, 96, 127]),
    st.integers(0, 40) | st.integers(0, 0xFFFF),
    st.integers(0, 20_000) | st.integers(0, 0xFFFFFFFF),
    st.integers(0, 2),
    PAYLOADS,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(JUNK, st.floats(0, 3)), max_size=60))
def test_whatever_is_sent_the_output_is_audio_in_order(arrivals):
    """Any packets at any times give whole samples whose positions rise no faster than time."""
    rtp = stream(WIDE)
    media, now, sent_s = [], 0.0, 0.0
    for packet, later in arrivals:
        now += later
        sent_s += 1.0
        media += rtp.receive(packet, now) + rtp.advance(now)
    media += rtp.finish()
    assert all(piece.data and len(piece.data) % 2 == 0 for piece in media)
    for one, other in itertools.pairwise(media):
        assert one.at + len(one.data) // 2 <= other.at
    # Each packet brings at most a second, and is believed to jump at most STRAY_S beyond the clock.
    assert not media or media[-1].at <= 16_000 * (now + 4 * sent_s + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 0.055), min_size=60, max_size=60))
def test_jitter_alone_changes_nothing(delays):
    """The same packets, delayed within the patience and overtaking each other, are the same audio."""
    arrivals = sorted(
        ((0.02 * n + delay, n) for n, delay in enumerate(delays)), key=lambda arrival: arrival[0]
    )
    media = heard(stream(), [(at, pcmu(n)) for at, n in arrivals])

    assert layout(media) == [(0, 60 * 160, False)]
    assert np.array_equal(samples(media, Encoding.MULAW), decode(SPEECH[: 60 * 160], Encoding.MULAW, 1)[:, 0])
