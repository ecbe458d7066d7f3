import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.audio.windows import WINDOW
from fac_stream.evidence.ring import Ring, stretches
from tests.evidence.exhibits import cut, heard, noise, scored

EVERYTHING = 10**9


def restored(stretch, window):
    """The samples of a window, out of a stretch."""
    begin = window.start - stretch.start
    return np.resize(stretch.samples[begin : begin + window.span], WINDOW)


gaps = st.lists(st.integers(1, 12 * 8000), max_size=6, unique=True).map(sorted)


@settings(max_examples=25, deadline=None)
@given(gaps, st.sampled_from([0.1, 0.5, 0.75, 2.0]), st.sampled_from([8000, 11025, 16000, 44100]))
def test_what_goes_in_comes_out(edges, hop_s, rate):
    """Every window that the scorer got can be had again bit for bit, whatever gaps, hops and rates."""
    samples = noise(12, rate=rate)
    edges = [edge * rate // 8000 for edge in edges]
    windows = cut(samples, hop_s=hop_s, gaps=list(zip(edges[::2], edges[1::2], strict=False)), rate=rate)

    found = stretches(heard(windows), 0, EVERYTHING)

    out = [(window, stretch) for stretch in found for window in stretch.windows]
    assert len(out) == len(windows)
    for (window, stretch), original in zip(out, windows, strict=True):
        assert (window.start, window.span) == (original.start_sample, original.span)
        assert restored(stretch, window).tobytes() == original.samples.tobytes()


@given(st.sampled_from([4.0, 8.0, 20.0]), st.sampled_from([0.1, 0.5, 2.0]))
@settings(max_examples=9, deadline=None)
def test_it_holds_no_more_than_it_says(seconds, hop_s):
    """However long a call is, a ring holds its seconds and one window more."""
    ring = Ring(seconds)
    most = 0
    for window in cut(noise(40), hop_s=hop_s):
        ring.add(window, 1, scored(window))
        most = max(most, sum(len(it.fresh) for it in ring.heard()))
        assert all(it.fresh.base is None for it in ring.heard())

    assert seconds * SAMPLE_RATE <= most + hop_s * SAMPLE_RATE
    assert most <= (seconds + 2) * SAMPLE_RATE


def test_an_excerpt_has_whole_windows_and_no_other_audio():
    """Between two moments of the call only what lies between them is taken, not a sample more."""
    samples = noise(20)
    (stretch,) = stretches(heard(cut(samples), seconds=10), 11 * SAMPLE_RATE, 17 * SAMPLE_RATE)

    assert (stretch.start, len(stretch.samples)) == (11 * SAMPLE_RATE, 6 * SAMPLE_RATE)
    assert stretch.samples.tobytes() == samples[11 * SAMPLE_RATE : 17 * SAMPLE_RATE].tobytes()
    assert [it.start for it in stretch.windows] == [round((11 + i / 2) * SAMPLE_RATE) for i in range(9)]


@pytest.mark.parametrize(("first", "last"), [(0, WINDOW - 1), (50 * SAMPLE_RATE, EVERYTHING), (0, 0)])
def test_where_no_window_lies_there_is_nothing(first, last):
    """Less than a window of time gives no stretch, and no error."""
    assert stretches(heard(cut(noise(6))), first, last) == []
    assert stretches([], first, last) == []


def test_windows_that_do_not_follow_are_kept_whole():
    """A window that only claims to overlap its predecessor is not cut: it is a piece of its own."""
    first, second = cut(noise(2, seed=1))[0], cut(noise(4, seed=2))[1]

    found = stretches(heard([first, second]), 0, EVERYTHING)

    assert [len(stretch.samples) for stretch in found] == [WINDOW, WINDOW]
    assert [it.samples.tobytes() for it in found] == [first.samples.tobytes(), second.samples.tobytes()]
