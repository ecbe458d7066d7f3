import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.config import Ingest
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.sources.live import MAX_LEGS, LiveSource

RATE = 8000
TWO = AudioFormat(RATE, Encoding.MULAW, ("caller", "agent"))
PACKET = bytes(160)


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        """The time that was set."""
        return self.now


def source(**limits):
    """A source of two legs, its clock, and what it handed over so far."""
    clock = Clock()
    return LiveSource("twilio", "c", Start(TWO), Ingest(queue_s=60, **limits), clock), clock


def taken(live):
    """What waits in the queue: leg, first sample, samples."""
    return [(frame.leg, frame.start_sample, len(frame.data)) for frame in live.queue._frames]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 400)), max_size=40))
def test_samples_never_overlap_whatever_positions_are_claimed(claims):
    """Positions may go back, repeat or jump: what is handed over rises strictly."""
    live, _ = source()
    for at, count in claims:
        live.push_nowait(Media(bytes(count), "caller", at))
    end = 0
    for _, start, count in taken(live):
        assert start >= end
        end = start + count


def test_legs_count_on_their_own():
    """Each leg's audio follows its own, whatever the other does."""
    live, _ = source()
    for leg in ("caller", "agent", "caller", "caller", "agent"):
        live.push_nowait(Media(PACKET, leg))
    assert [start for leg, start, _ in taken(live) if leg == "caller"] == [0, 160, 320]
    assert [start for leg, start, _ in taken(live) if leg == "agent"] == [0, 160]


def test_who_joins_later_begins_where_the_clock_stands():
    """A second stream that begins 3 s into the call lies there."""
    live, clock = source()
    for _ in range(150):
        live.push_nowait(Media(PACKET, "caller"))
        clock.now += 0.02
    live.push_nowait(Media(PACKET, "agent"))
    assert taken(live)[-1][:2] == ("agent", 3 * RATE)


def test_a_reconnection_leaves_a_gap_as_long_as_it_took():
    """After 2 s of audio and 5 s of nothing, the new connection's sample 0 is the call's second 7."""
    live, clock = source()
    for _ in range(100):
        live.push_nowait(Media(PACKET, "caller"))
        clock.now += 0.02
    clock.now += 5.0
    live.reconnect()
    live.push_nowait(Media(PACKET, "caller", at=0))
    live.push_nowait(Media(PACKET, "caller", at=160))
    assert [start for _, start, _ in taken(live)[-2:]] == [7 * RATE, 7 * RATE + 160]


@pytest.mark.parametrize(
    ("media", "said"),
    [
        (Media(b"123", None), "inside a sample"),
        (Media(PACKET, "caller", 10**12), "max_duration_s"),
    ],
)
def test_what_cannot_be_placed_is_refused(media, said):
    """A half sample, or a position years ahead."""
    live, _ = source()
    with pytest.raises(ProtocolError, match=said):
        live.push_nowait(media)


def test_legs_are_bounded():
    """A peer that invents names is stopped."""
    live, _ = source()
    for number in range(MAX_LEGS):
        live.push_nowait(Media(PACKET, f"leg{number}"))
    with pytest.raises(ProtocolError, match="legs"):
        live.push_nowait(Media(PACKET, "another"))
