import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.protocols.jitter import MAX_DROPOUT, MAX_HELD, JitterBuffer
from fac_stream.protocols.rtp import Packet

TICKS, TICK_S = 160, 0.02
LEAST_S, MOST_S = 0.06, 0.3


def packet(number, timestamp=None):
    """The ``number``-th packet of a sender that sends 20 ms at 8 kHz, its counters about to wrap."""
    stamp = (2**32 - 500 + TICKS * number) if timestamp is None else timestamp
    return Packet(0, (65_530 + number) & 0xFFFF, stamp & 0xFFFFFFFF, 1, number.to_bytes(8, "big"))


def number_of(ordered):
    """Which packet of the sender it is."""
    return int.from_bytes(ordered.packet.payload, "big")


def buffer():
    """For 8 kHz, with the usual bounds."""
    return JitterBuffer(8000, LEAST_S, MOST_S)


def through(arrivals):
    """Everything that comes out for ``(at, packet)`` in order of arrival, and the buffer."""
    jitter = buffer()
    out = []
    for at, arrived in arrivals:
        out += jitter.push(arrived, at)
    return out + jitter.flush(), jitter


def test_in_order_nothing_waits():
    """After the first patience, a packet that comes in order leaves with the same call."""
    jitter = buffer()
    out = [jitter.push(packet(n), n * TICK_S) for n in range(50)]

    assert [len(part) for part in out] == [0, 0, 0, 4] + [1] * 46
    assert [number_of(o) for part in out for o in part] == list(range(50))
    assert jitter.counts.lost == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, LEAST_S - 0.001), min_size=2, max_size=80), st.booleans())
def test_any_order_of_arrival_within_the_patience_is_the_same(delays, doubled):
    """Packets delayed by less than the patience come out as sent, however they overtake each other."""
    arrivals = sorted(
        [(n * TICK_S + delay, packet(n)) for n, delay in enumerate(delays)] * (2 if doubled else 1),
        key=lambda arrival: arrival[0],
    )
    out, jitter = through(arrivals)

    assert [number_of(o) for o in out] == list(range(len(delays)))
    assert [o.timestamp - out[0].timestamp for o in out] == [TICKS * n for n in range(len(delays))]
    assert all(o.lost == 0 for o in out)
    assert jitter.counts.lost == jitter.counts.late == 0
    assert jitter.counts.doubled == (len(delays) if doubled else 0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.none() | st.floats(0, 1.5), min_size=1, max_size=120),
    st.lists(st.floats(0, 0.1), max_size=40),
)
def test_the_buffer_is_bounded_and_its_output_in_order(delays, ticks):
    """Whatever is lost, late or silent: never more than the bound is held, numbers and times only rise."""
    arrivals = sorted((n * TICK_S + delay, n) for n, delay in enumerate(delays) if delay is not None)
    jitter = buffer()
    out = []
    came = {}
    waits = [0.0, *ticks]
    for turn, (at, number) in enumerate(arrivals):
        came.setdefault(number, at)
        out += [(o, at) for o in jitter.push(packet(number), at)]
        later = at + waits[turn % len(waits)]
        if turn + 1 < len(arrivals) and later < arrivals[turn + 1][0]:
            out += [(o, later) for o in jitter.advance(later)]
        held = [o.timestamp for o in jitter._held.values()]
        assert not held or max(held) - min(held) <= MOST_S * 8000
        assert LEAST_S <= jitter.patience_s <= MOST_S
        assert all(at - o.arrived < MOST_S for o in jitter._held.values())
    out += [(o, None) for o in jitter.flush()]
    numbers = [number_of(o) for o, _ in out]
    assert numbers == sorted(set(numbers))
    assert all(a[0].timestamp < b[0].timestamp for a, b in itertools.pairwise(out))
    assert set(numbers) <= set(came)
    assert jitter.counts.received == len(arrivals)
    missing = [b - a - 1 for a, b in itertools.pairwise(numbers)]
    assert [o.lost for o, _ in out[1:]] == missing


def test_a_hole_is_waited_for_and_then_given_up():
    """What comes after a lost packet leaves when the patience is over, and says how many are missing."""
    jitter = buffer()
    for n in range(5):
        jitter.push(packet(n), n * TICK_S)
    assert jitter.push(packet(7), 0.140) == []
    assert jitter.advance(0.199) == []
    (given_up,) = jitter.advance(0.201)

    assert (number_of(given_up), given_up.lost) == (7, 2)
    assert jitter.push(packet(5), 0.25) == []
    assert (jitter.counts.lost, jitter.counts.late) == (2, 1)


def test_patience_grows_with_late_packets_and_shrinks_again():
    """A packet that came 150 ms too late makes the buffer wait as long, for a while."""
    jitter = buffer()
    for n in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12):
        jitter.push(packet(n), n * TICK_S)
    jitter.push(packet(5), 0.12 + 0.15)
    grown = jitter.patience_s
    for n in range(13, 13 + 2000):
        jitter.push(packet(n), n * TICK_S)

    assert grown == pytest.approx(0.15)
    assert jitter.patience_s == pytest.approx(LEAST_S, abs=0.005)


def test_much_behind_a_hole_is_not_kept():
    """A burst that spans more than the bound is not held back for one missing packet."""
    jitter = buffer()
    for n in range(5):
        jitter.push(packet(n), n * TICK_S)
    out = [o for n in range(6, 40) for o in jitter.push(packet(n), 0.1)]

    assert [number_of(o) for o in out] == list(range(6, 40))


def test_packets_without_time_are_bounded_by_number():
    """A sender whose timestamps stand still cannot fill the memory."""
    jitter = buffer()
    jitter.push(packet(0, timestamp=0), 0.0)
    jitter.advance(1.0)
    for n in range(2, 3 * MAX_HELD):
        jitter.push(packet(n, timestamp=0), 1.0)
        assert jitter.held <= MAX_HELD + 1


def test_a_jump_is_believed_when_a_second_packet_follows():
    """RFC 3550, A.1: one packet far away is dropped; two in a row are a sender that began to count anew."""
    jitter = buffer()
    for n in range(5):
        jitter.push(packet(n), n * TICK_S)
    far = MAX_DROPOUT + 500
    assert jitter.push(packet(far, timestamp=7), 0.1) == []
    assert [number_of(o) for o in jitter.push(packet(5), 0.1)] == [5]
    assert jitter.push(packet(far, timestamp=7), 0.12) == []
    resumed = jitter.push(packet(far + 1, timestamp=167), 0.14)

    assert [(number_of(o), o.restarted, o.lost) for o in resumed] == [(far, True, 0), (far + 1, False, 0)]
    assert [number_of(o) for o in jitter.push(packet(far + 2, timestamp=327), 0.16)] == [far + 2]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.floats(0, 2)), max_size=200))
def test_any_numbers_are_bounded(arrivals):
    """Numbers and times that make no sense hold no more than any others."""
    jitter = buffer()
    now = 0.0
    out = 0
    for sequence, timestamp, later in arrivals:
        now += later
        out += len(jitter.push(Packet(0, sequence, timestamp, 1, b""), now))
        held = [o.timestamp for o in jitter._held.values()]
        assert not held or max(held) - min(held) <= MOST_S * 8000
    assert out + len(jitter.flush()) <= len(arrivals)
