import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codecs import decode, encode
from fac_stream.audio.frames import SAMPLE_RATE, AudioFormat, Encoding, Frame
from fac_stream.audio.windows import MIN_SEGMENT, WINDOW, WindowCutter
from fac_stream.errors import AudioError

MONO = ("mixed",)
LEGS = {1: MONO, 2: ("caller", "agent"), 3: ("ch1", "ch2", "ch3")}
RATES = [4000, 8000, 11025, 16000, 44100, 48000]


def noise(count: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise with a fixed seed, float32 ``[count, channels]``."""
    return (0.1 * np.random.default_rng(seed).standard_normal((count, channels))).astype(np.float32)


def cut(data: bytes, fmt: AudioFormat, cuts=(), hop_s: float = 0.5):
    """All windows of ``data`` split at the given samples, and the cutter."""
    cutter, windows = WindowCutter(fmt, hop_s), []
    width = fmt.frame_width
    marks = sorted({0, *(c for c in cuts if c < len(data) // width)})
    for start, end in zip(marks, [*marks[1:], len(data) // width], strict=True):
        windows += cutter.push(Frame(start, data[start * width : end * width], float(end)))
    return windows + cutter.flush(), cutter


def same(left, right) -> bool:
    """Equal in everything but the time of arrival, samples bit for bit."""
    return len(left) == len(right) and all(
        (a.leg, a.index, a.start_sample, a.span) == (b.leg, b.index, b.start_sample, b.span)
        and a.samples.tobytes() == b.samples.tobytes()
        for a, b in zip(left, right, strict=True)
    )


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from(RATES),
    encoding=st.sampled_from(Encoding),
    channels=st.sampled_from([1, 2]),
    hop_s=st.sampled_from([0.1, 0.37, 0.5, 2.0]),
    length_s=st.floats(0.0, 4.5),
    cuts=st.lists(st.floats(0.0, 1.0), max_size=40),
)
def test_any_split_gives_the_same_windows(*, rate, encoding, channels, hop_s, length_s, cuts):
    """However the bytes arrive, the windows are the same bit for bit."""
    fmt = AudioFormat(rate, encoding, LEGS[channels])
    count = int(length_s * rate)
    data = encode(noise(count, channels), encoding)
    whole, _ = cut(data, fmt, hop_s=hop_s)
    split, _ = cut(data, fmt, [int(c * count) for c in cuts], hop_s)
    packets, _ = cut(data, fmt, range(0, count, max(rate // 50, 1)), hop_s)
    assert same(whole, split)
    assert same(whole, packets)


@settings(deadline=None, max_examples=100)
@given(
    rate=st.sampled_from([4000, 8000, 11025, 16000]),
    hop_s=st.sampled_from([0.1, 0.5, 1.3]),
    pieces=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 40_000)), min_size=1, max_size=5),
)
def test_every_sample_is_windowed_or_reported_lost(rate, hop_s, pieces):
    """Conservation: gaps and scraps are counted, all else lies in a window, and no window in a gap."""
    cutter, windows, position = WindowCutter(AudioFormat(rate, Encoding.MULAW, MONO), hop_s), [], 0
    segments = []
    for gap, count in pieces:
        position += gap
        windows += cutter.push(Frame(position, bytes(count), 0.0))
        if gap or not segments:
            segments.append([position, position])
        position += count
        segments[-1][1] = position
    windows += cutter.flush()
    covered = np.zeros(position * SAMPLE_RATE // rate + SAMPLE_RATE, bool)
    for window in windows:
        covered[window.start_sample : window.start_sample + window.span] = True
    expected = sum(
        end - start for start, end in segments if (end - start) * SAMPLE_RATE / rate >= MIN_SEGMENT - 0.5
    )
    # A segment's start and length are rounded to whole samples at 16 kHz.
    slack = 2 * len(segments) / SAMPLE_RATE
    assert covered.sum() / SAMPLE_RATE == pytest.approx(expected / rate, abs=slack)
    assert cutter.received_s == pytest.approx(sum(count for _, count in pieces) / rate)
    assert covered.sum() / SAMPLE_RATE + cutter.lost_s == pytest.approx(position / rate, abs=slack)
    for window in windows:
        assert any(
            start / rate - 1e-3 <= window.start_s and window.end_s <= end / rate + 1e-3
            for start, end in segments
        ), "a window reaches into a gap"


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 2.0])
def test_windows_follow_each_other_by_a_hop(hop_s):
    """The windows of 7.3 s start a hop apart; the last one ends at the very end."""
    hop = round(hop_s * SAMPLE_RATE)
    count = int(7.3 * SAMPLE_RATE)
    samples = noise(count)
    data = encode(samples, Encoding.PCM_F32LE)
    windows, cutter = cut(data, AudioFormat(SAMPLE_RATE, Encoding.PCM_F32LE, MONO), hop_s=hop_s)
    starts = [*range(0, count - WINDOW + 1, hop)]
    assert [w.start_sample for w in windows] == [*starts, count - WINDOW][: len(windows)]
    assert windows[-1].end_s == cutter.received_s == pytest.approx(7.3)
    assert [w.index for w in windows] == list(range(len(windows)))
    for window in windows:
        assert window.samples.dtype == np.float32
        assert np.array_equal(window.samples, samples[window.start_sample : window.start_sample + WINDOW, 0])


def test_nothing_is_windowed_twice_at_the_end():
    """A stream that ends with a hop has no second window there."""
    for seconds, expected in ((2.0, 1), (2.5, 2), (2.6, 3)):
        data = bytes(int(seconds * 8000))
        windows, _ = cut(data, AudioFormat(8000, Encoding.MULAW, MONO))
        assert len(windows) == expected, f"{seconds} s"


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 24000, 44100, 48000, 96000])
def test_resampled_windows_match_the_whole_signal(rate):
    """Window by window the samples are those of resampling everything in one piece."""
    data = encode(noise(rate * 5, 2), Encoding.PCM_S16LE)
    fmt = AudioFormat(rate, Encoding.PCM_S16LE, LEGS[2])
    whole = soxr.resample(decode(data, fmt.encoding, 2), rate, SAMPLE_RATE, "HQ")
    windows, _ = cut(data, fmt, range(0, rate * 5, 160))
    assert len(windows) == 2 * 7
    for window in windows:
        expected = whole[window.start_sample : window.start_sample + WINDOW, fmt.legs.index(window.leg)]
        assert np.abs(window.samples - expected).max() < 2e-6


@pytest.mark.parametrize(("rate", "limit_ms"), [(8000, 14), (16000, 0), (44100, 7), (48000, 7), (4000, 27)])
def test_a_window_waits_little_for_the_filter(rate, limit_ms):
    """The first window is complete at most half a filter length after its two seconds."""
    cutter = WindowCutter(AudioFormat(rate, Encoding.MULAW, MONO), 0.5)
    received = 0
    while not cutter.push(Frame(received, b"\xff", 0.0)):
        received += 1
    assert (received + 1) / rate - 2.0 <= limit_ms / 1000


def test_legs_come_in_pairs_and_are_not_mixed():
    """Each channel becomes a leg of its own, in order, with the same times."""
    samples = noise(SAMPLE_RATE * 3, 3)
    fmt = AudioFormat(SAMPLE_RATE, Encoding.PCM_F32LE, LEGS[3])
    windows, _ = cut(samples.tobytes(), fmt)
    assert [(w.leg, w.index) for w in windows] == [(leg, i) for i in range(3) for leg in LEGS[3]]
    for window in windows:
        part = samples[window.start_sample : window.start_sample + WINDOW, LEGS[3].index(window.leg)]
        assert np.array_equal(window.samples, part)


def test_no_window_crosses_a_gap():
    """A jump ends the segment with a last window, and the next one starts behind the gap."""
    rate, second = 8000, 8000
    cutter = WindowCutter(AudioFormat(rate, Encoding.PCM_S16LE, MONO), 0.5)
    data = encode(noise(6 * second), Encoding.PCM_S16LE)
    windows = cutter.push(Frame(0, data[: 2 * 2 * second + 2 * 1600], 1.0))
    windows += cutter.push(Frame(5 * second, data[2 * 3 * second :], 2.0))
    windows += cutter.flush()
    spans = [(w.index, w.start_s, w.end_s) for w in windows]
    assert spans == [(0, 0.0, 2.0), (1, 0.2, 2.2), (2, 5.0, 7.0), (3, 5.5, 7.5), (4, 6.0, 8.0)]
    assert cutter.lost_s == pytest.approx(2.8)
    assert cutter.received_s == pytest.approx(5.2)


def test_what_comes_after_a_gap_knows_nothing_of_what_was_before():
    """The resampler starts anew behind a gap: the windows are those of a stream that begins there."""
    fmt = AudioFormat(8000, Encoding.PCM_S16LE, MONO)
    before, after = (encode(noise(3 * 8000, seed=s), Encoding.PCM_S16LE) for s in (1, 2))
    cutter = WindowCutter(fmt, 0.5)
    first = cutter.push(Frame(0, before, 0.0))
    second = cutter.push(Frame(80_000, after, 0.0)) + cutter.flush()
    alone, _ = cut(after, fmt)
    fresh = [w for w in second if w.start_s >= 10.0]
    assert first
    assert [w.samples.tobytes() for w in fresh] == [w.samples.tobytes() for w in alone]


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.999])
def test_a_short_stream_is_repeated(seconds):
    """Between half a second and two the sound is repeated, and the window says how much of it there was."""
    samples = noise(int(seconds * SAMPLE_RATE))
    (window,), cutter = cut(samples.tobytes(), AudioFormat(SAMPLE_RATE, Encoding.PCM_F32LE, MONO))
    assert window.end_s == pytest.approx(seconds, abs=1e-4)
    assert window.samples.shape == (WINDOW,)
    assert np.array_equal(window.samples[: len(samples)], samples[:, 0])
    assert np.array_equal(window.samples[len(samples) :], np.resize(samples, WINDOW)[len(samples) :])
    assert cutter.lost_s == 0


def test_a_scrap_is_lost_and_counted():
    """Below half a second there is no window, and the loss shows."""
    windows, cutter = cut(bytes(3999), AudioFormat(8000, Encoding.MULAW, MONO))
    assert windows == []
    assert cutter.lost_s == cutter.received_s == pytest.approx(3999 / 8000)


def test_a_window_arrived_when_its_last_frame_did():
    """``received_at`` is that of the frame that completed the window."""
    cutter = WindowCutter(AudioFormat(8000, Encoding.MULAW, MONO), 0.5)
    windows = [w for i in range(200) for w in cutter.push(Frame(i * 160, bytes(160), 100.0 + i))]
    # 13 ms of filter: the window ending at 2.0 s (frame 99 has its last sample) comes with frame 100.
    assert [w.received_at for w in windows] == [200.0, 225.0, 250.0, 275.0]
    assert [w.received_at for w in cutter.flush()] == [299.0]


def test_time_does_not_run_backwards():
    """A frame that overlaps what was received is refused in words."""
    cutter = WindowCutter(AudioFormat(8000, Encoding.MULAW, MONO), 0.5)
    cutter.push(Frame(0, bytes(160), 0.0))
    with pytest.raises(AudioError, match="starts at sample 159, but 160 samples were received"):
        cutter.push(Frame(159, bytes(160), 0.0))


def test_a_frame_that_ends_inside_a_sample_is_refused():
    """Bytes are not guessed at."""
    cutter = WindowCutter(AudioFormat(8000, Encoding.PCM_S16LE, LEGS[2]), 0.5)
    with pytest.raises(AudioError, match="6 bytes ends inside a sample of 4 bytes"):
        cutter.push(Frame(0, bytes(6), 0.0))


def test_samples_that_are_not_finite_are_refused():
    """NaN in a stream of floats is an error, not a score."""
    cutter = WindowCutter(AudioFormat(SAMPLE_RATE, Encoding.PCM_F32LE, MONO), 0.5)
    with pytest.raises(AudioError, match="NaN"):
        cutter.push(Frame(0, np.full(WINDOW, np.nan, np.float32).tobytes(), 0.0))


@pytest.mark.parametrize(
    ("rate", "hop_s"), [(3999, 0.5), (192_001, 0.5), (8000, 0.0), (8000, 2.1), (8000, -1)]
)
def test_impossible_settings_are_refused(rate, hop_s):
    """Rates and hops out of bounds are AudioErrors."""
    with pytest.raises(AudioError):
        WindowCutter(AudioFormat(rate, Encoding.MULAW, MONO), hop_s)


def test_memory_does_not_grow_with_the_call():
    """After an hour the cutter holds no more than after ten seconds."""
    cutter = WindowCutter(AudioFormat(8000, Encoding.MULAW, MONO), 0.5)
    held = set()
    for i in range(3600):
        cutter.push(Frame(i * 8000, bytes(8000), 0.0))
        held.add((len(cutter._pending), len(cutter._recent), len(cutter._resampler._held)))
    assert max(pending for pending, _, _ in held) <= 16_000
    assert max(recent for _, recent, _ in held) < 2 * WINDOW
    assert max(context for _, _, context in held) < 16_000
