import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.protocols.timestamps import FILL_S, Place, Timestamps

RATE = 8_000
PACKET = 160


def places(*stamps, packet=PACKET):
    """Where packets of equal length go that are stamped so."""
    timestamps = Timestamps(RATE)
    return [timestamps.place(stamp, packet) for stamp in stamps]


def test_neighbours_follow_each_other():
    """Whatever the first stamp is, the stream begins at 0 and has no holes."""
    assert places(90_000, 90_160, 90_320) == [Place(0, 0), Place(160, 0), Place(320, 0)]


@pytest.mark.parametrize("stamps", [(None, None, None), (5, None, 900_000)])
def test_what_nobody_stamped_follows_directly(stamps):
    """Without timestamps nothing is known to be missing."""
    assert places(*stamps) == [Place(0, 0), Place(160, 0), Place(320, 0)]


@pytest.mark.parametrize("lost", range(1, 6))
def test_short_holes_are_to_be_filled(lost):
    """Up to five packets of 20 ms: their samples are made up, and the rest keeps its place."""
    assert places(0, (lost + 1) * PACKET) == [Place(0, 0), Place((lost + 1) * PACKET, lost * PACKET)]


def test_long_holes_stay_holes():
    """Half a second without packets is a gap of half a second."""
    assert places(0, PACKET + RATE // 2) == [Place(0, 0), Place(PACKET + RATE // 2, 0)]


@pytest.mark.parametrize("stamp", [-5_000, 0, 10**9])
def test_a_new_timeline_is_only_kept_apart(stamp):
    """Backwards or far ahead, nothing is missing: one sample of gap, and the stream goes on."""
    assert places(8_000, stamp, stamp + PACKET) == [Place(0, 0), Place(161, 0), Place(321, 0)]


@given(st.lists(st.floats(-0.9, 0.9), min_size=1, max_size=200))
def test_jitter_and_drift_of_stamps_make_no_holes(jitters):
    """A clock 0.1 % fast, with stamps rounded to milliseconds, never adds up to a hole."""
    stamps = [i * PACKET * 1.001 + jitter * RATE / 1000 for i, jitter in enumerate(jitters)]

    assert places(*stamps) == [Place(i * PACKET, 0) for i in range(len(jitters))]


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e12, 1e12)), st.integers(1, 10_000))))
def test_places_never_overlap_and_fill_is_bounded(packets):
    """For any stamps: order is kept, made-up samples lie in the hole before, and are few."""
    timestamps, end = Timestamps(RATE), 0
    for stamp, samples in packets:
        place = timestamps.place(stamp, samples)
        assert place.at - place.fill >= end
        assert place.fill <= FILL_S * RATE
        end = place.at + samples
