import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.audiosocket import RATES, Announced, ArrivalCheck, AudioSocketStream, Broken
from fac_stream.protocols.dialogue import Finish, Media, Start
from tests.protocols.conversations import check, golden, read, sound, stopped_clock

GOLDEN = golden("audiosocket")
UUID = bytes.fromhex("40325ec25efd4bd3805f53576e581d13")
ID = b"\x01\x00\x10" + UUID


def packet(kind, payload):
    """One packet."""
    return bytes([kind]) + len(payload).to_bytes(2) + payload


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_packets(path):
    """Recorded packets give the recorded messages, or the recorded refusal at the last one."""
    recorded = read(path)
    rates = {int(kind): rate for kind, rate in recorded.get("rates", {}).items()}
    stream = AudioSocketStream(rates, now=stopped_clock)

    def take(part):
        return stream.receive_end() if part == "close" else [*stream.receive(bytes.fromhex(part))]

    check(recorded, take, recorded["packets"])


def test_there_are_golden_packets():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 20


PACKETS = st.lists(
    st.one_of(
        st.builds(packet, st.just(0x10), st.binary(max_size=200).map(lambda data: data[len(data) % 2 :])),
        st.builds(packet, st.sampled_from([0x03, 0x04, 0x0F, 0x20, 0x7F]), st.binary(max_size=40)),
    ),
    max_size=12,
).map(b"".join)


def whole_call(pieces):
    """Everything that a connection of these pieces gives."""
    stream = AudioSocketStream(now=stopped_clock)
    return [message for piece in pieces for message in stream.receive(piece)] + stream.receive_end()


@settings(deadline=None)
@given(PACKETS, st.lists(st.integers(0, 3000), max_size=20), st.booleans())
def test_where_the_bytes_are_cut_makes_no_difference(packets, cuts, hangs_up):
    """A TCP stream in any pieces gives the same call with the same audio, and the same end."""
    data = ID + packets + (bytes(3) if hangs_up else b"")
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cut = whole_call([data[a:b] for a, b in itertools.pairwise(bounds)])
    at_once = whole_call([data])
    assert sound(cut) == sound(at_once)
    for kind in (Announced, Start, Finish):
        assert [m for m in cut if isinstance(m, kind)] == [m for m in at_once if isinstance(m, kind)]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=80) | PACKETS | st.just(ID) | st.just(bytes(3)), max_size=8))
def test_whatever_comes_is_accepted_or_refused(pieces):
    """The parser gives messages or raises ProtocolError, and never holds more than a packet."""
    stream = AudioSocketStream()
    try:
        for piece in pieces:
            for message in stream.receive(piece):
                assert isinstance(message, Announced | Start | Media | Finish | Broken)
            assert len(stream._pending) < 3 + 65_535
        stream.receive_end()
    except ProtocolError:
        return


def test_what_came_before_an_error_is_not_lost():
    """Whether it arrives with the error or before it makes no difference."""
    messages = AudioSocketStream(now=stopped_clock).receive(
        ID + packet(0x10, b"\1\0") + packet(0x10, b"\2\0") + packet(0x10, bytes(3))
    )
    received = [next(messages) for _ in range(3)]
    assert sound(received) == b"\1\0\2\0"
    with pytest.raises(ProtocolError, match="16-bit sample"):
        next(messages)


def test_nothing_is_waited_for_after_a_wrong_header():
    """Three bytes tell: a port scanner does not get to send 64 KiB."""
    with pytest.raises(ProtocolError, match="no AudioSocket"):
        next(AudioSocketStream().receive(b"\x10\xff\xff"))


def test_a_configured_leg_and_rate_go_into_the_call():
    """The only leg bears the configured name."""
    stream = AudioSocketStream({0x10: 16_000}, leg="caller")
    _, start, _ = stream.receive(ID + packet(0x10, b"\1\0"))
    assert (start.format.sample_rate, start.format.legs) == (16_000, ("caller",))


def arrivals(actual, *, seconds, declared, packet_s=0.02, stall_s=0.0):
    """Send audio of ``actual`` Hertz that is declared otherwise; a stall after 5 s is caught up at once."""
    now_s = 0.0
    check_it = ArrivalCheck(0x11, declared, lambda: now_s)
    samples = round(actual * packet_s)
    for n in range(round(seconds / packet_s)):
        now_s = max(now_s, (n + 1) * packet_s)
        if stall_s and n * packet_s == 5:
            now_s += stall_s
        check_it.add(samples)


RATE_PAIRS = [
    (actual, declared) for actual in RATES.values() for declared in RATES.values() if actual != declared
]


@pytest.mark.parametrize(("actual", "declared"), RATE_PAIRS)
def test_a_wrong_rate_is_noticed(actual, declared):
    """Audio of one known rate that is taken for another is refused, with the setting that puts it right."""
    with pytest.raises(ProtocolError, match=rf"rates to {{0x11: {actual}}}"):
        arrivals(actual, seconds=30, declared=declared)


@pytest.mark.parametrize("rate", RATES.values())
@pytest.mark.parametrize("drift", [0.99, 1.0, 1.01])
def test_a_right_rate_is_not(rate, drift):
    """Clocks that differ by a hundredth are clocks."""
    arrivals(rate * drift, seconds=60, declared=rate)


@pytest.mark.parametrize("stall_s", [1, 3, 5, 10, 20])
def test_a_stalled_network_is_no_wrong_rate(stall_s):
    """What was held back and comes at once is no other rate, whatever the sum looks like."""
    arrivals(8_000, seconds=90, declared=8_000, stall_s=stall_s)


def test_the_check_is_part_of_the_stream():
    """A call whose packets come at twice the declared rate ends with a refusal."""
    now_s = 0.0
    stream = AudioSocketStream(now=lambda: now_s)
    list(stream.receive(ID))
    error = None
    for n in range(2000):
        now_s = n * 0.02
        try:
            list(stream.receive(packet(0x10, bytes(640))))
        except ProtocolError as refusal:
            error = str(refusal)
            break
    assert "0x10: 16000" in error
