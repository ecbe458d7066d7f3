import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.rtp import Packet, is_rtcp, parse
from fac_stream.protocols.rtp_source import MAX_CANDIDATES, RELEARN_S, Probation, SourceLock

FIRST, MOVED, THIEF = ("192.0.2.1", 5004), ("192.0.2.1", 6004), ("192.0.2.66", 5004)
GOLDEN = sorted((Path(__file__).parent / "data" / "rtp").glob("*.json"))


def packet(sequence, ssrc=1, payload=b""):
    """A packet of which only the number matters."""
    return Packet(0, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc, payload)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_packets(path):
    """Packets written from RFC 3550 give their fields, RTCP is told apart, what is broken is refused."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    data = bytes.fromhex(golden["hex"])

    assert is_rtcp(data) == golden.get("rtcp", False)
    if "error" in golden:
        with pytest.raises(ProtocolError, match=golden["error"]):
            parse(data)
    elif "packet" in golden:
        expected = golden["packet"]
        assert parse(data) == Packet(**expected | {"payload": bytes.fromhex(expected["payload"])})


def test_there_are_golden_packets():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 15


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\xb1" + data))
def test_any_datagram_is_a_packet_or_refused(data):
    """The parser gives a packet whose payload is part of the datagram, or raises ProtocolError."""
    try:
        parsed = parse(data)
    except ProtocolError:
        return
    assert parsed.payload in data
    assert parsed.sequence < 2**16
    assert parsed.payload_type < 2**7


@given(st.binary(min_size=12, max_size=64), st.integers(0, 12))
def test_every_cut_of_a_header_is_refused(data, length):
    """No cut of the fixed header is taken for a packet."""
    with pytest.raises(ProtocolError):
        parse(data[: min(length, 11)])


def test_one_packet_takes_over_nothing():
    """Stray datagrams, none following upon another, are no sender."""
    lock = SourceLock()

    assert [lock.admit(packet(number), ("192.0.2.1", 9), 0.0) for number in (5, 9, 400, 1, 65535)] == [[]] * 5


@pytest.mark.parametrize("order", [(7, 8), (8, 7), (65535, 0), (3, 8, 7)])
def test_two_in_a_row_are_a_sender_and_nothing_is_lost(order):
    """Two numbers in a row, in either order, make a sender; all that it sent is handed out."""
    lock = SourceLock()
    handed = [lock.admit(packet(number), FIRST, float(at)) for at, number in enumerate(order)]

    assert [len(part) for part in handed] == [0] * (len(order) - 1) + [len(order)]
    assert [(a.packet.sequence, a.at) for a in handed[-1]] == [(n, float(at)) for at, n in enumerate(order)]


def test_the_first_sender_is_kept():
    """Whoever sends well-formed packets from elsewhere is ignored and counted while the first one sends."""
    lock = SourceLock()
    for number in range(2):
        lock.admit(packet(number), FIRST, 0.0)
    for number in range(2, 200):
        assert len(lock.admit(packet(number), FIRST, number / 50)) == 1
        assert lock.admit(packet(number, ssrc=9), THIEF, number / 50) == []
        assert lock.admit(packet(number), THIEF, number / 50) == []
    assert lock.foreign == 2 * 198


def test_a_silent_sender_may_have_moved_to_another_port():
    """After ``RELEARN_S`` without a packet, and not before."""
    lock = SourceLock()
    for number in range(2):
        lock.admit(packet(number), FIRST, 0.0)

    assert [lock.admit(packet(n), MOVED, RELEARN_S - 0.1) for n in (8, 9)] == [[], []]
    assert lock.admit(packet(10), MOVED, RELEARN_S) == []
    assert len(lock.admit(packet(11), MOVED, RELEARN_S)) == 2
    assert lock.admit(packet(2), FIRST, RELEARN_S) == []


def test_another_host_takes_over_only_where_the_signalling_says_so():
    """A third party is foreign, however silent the line; after a release it is the old sender, in turn."""
    lock = SourceLock()
    for number in range(2):
        lock.admit(packet(number), FIRST, 0.0)

    assert [lock.admit(packet(n), THIEF, 3600.0) for n in (10, 11)] == [[], []]
    lock.release()
    assert [len(lock.admit(packet(n), FIRST, 3600.0)) for n in (2, 3)] == [1, 1]
    assert [len(lock.admit(packet(n), THIEF, 3600.0)) for n in (12, 13)] == [0, 2]
    assert [len(lock.admit(packet(n), FIRST, 3600.0)) for n in (4, 5)] == [0, 0]


def test_the_same_sender_may_change_its_ssrc():
    """A transfer behind the same address begins a new SSRC: taken at its second packet."""
    lock = SourceLock()
    for number in range(2):
        lock.admit(packet(number), FIRST, 0.0)

    assert lock.admit(packet(500, ssrc=2), FIRST, 0.1) == []
    assert len(lock.admit(packet(501, ssrc=2), FIRST, 0.1)) == 2
    assert len(lock.admit(packet(502, ssrc=2), FIRST, 0.1)) == 1


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 0xFFFF)), max_size=300))
def test_strangers_are_bounded(arrivals):
    """However many strangers send, and whatever, a bounded number of packets is kept."""
    probation = Probation()
    for ssrc, number in arrivals:
        probation.admit(packet(number, ssrc), FIRST, 0.0)
    assert len(probation._waiting) <= MAX_CANDIDATES
    assert all(len(waiting) <= 8 for waiting in probation._waiting.values())
