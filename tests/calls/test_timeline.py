import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.calls.timeline import Timeline
from fac_stream.events import TimelinePoint


def point(index):
    """The point of a window."""
    return TimelinePoint(end_s=index, score=0.5, smoothed=0.5, speech_s=1.0, decision="human")


@given(st.integers(0, 400), st.integers(2, 50))
def test_a_timeline_is_bounded_and_evenly_spaced(count, max_points):
    """However many windows come, at most max_points stay, from the first on, at one distance."""
    timeline = Timeline(max_points)

    for index in range(count):
        timeline.add(point(index))

    kept = [p.end_s for p in timeline.points()]
    assert len(kept) <= max_points
    assert kept[:1] == [0.0][:count]
    assert len({b - a for a, b in itertools.pairwise(kept)}) <= 1


@pytest.mark.parametrize("count", [1, 10, 11, 20, 21])
def test_a_short_timeline_is_complete(count):
    """Nothing is thinned before it is full, and a full one covers the call to its last points."""
    timeline = Timeline(10)

    for index in range(count):
        timeline.add(point(index))

    kept = [p.end_s for p in timeline.points()]
    assert kept == [float(i) for i in range(count)] if count <= 10 else kept[-1] >= count - 4


@given(st.integers(0, 60), st.integers(1, 40))
def test_the_last_points_are_the_end_of_all(count, most):
    """Asking for the last ones gives the end of what all are, however few there are."""
    timeline = Timeline(50)

    for index in range(count):
        timeline.add(point(index))

    assert timeline.points(most) == timeline.points()[-most:]
