import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.protocols.untimed import HOLD_S, PAUSE_S, UntimedAudio
from tests.protocols.conversations import sound

RATE = 8_000
PACKET_S = 0.02
PACKET = bytes(round(2 * RATE * PACKET_S))


class Line:
    """A sender of packets on a clock of its own."""

    def __init__(self):
        self.now_s = 0.0
        self.audio = UntimedAudio(RATE, 2, lambda: self.now_s)
        self.received = []

    def speak(self, seconds, pace=1.0):
        """Send packets, ``pace`` times as fast as they are spoken."""
        for _ in range(round(seconds / PACKET_S)):
            self.now_s += PACKET_S / pace
            self.received += self.audio.push(PACKET)

    def gaps(self):
        """Where the positions jump: seconds into the stream, and by how much."""
        found, position = [], 0
        for media in self.received:
            if media.at is not None:
                found.append((position / RATE, round((media.at - position) / RATE, 3)))
                position = media.at
            position += len(media.data) // 2
        return found


def test_a_pause_is_a_gap():
    """What follows three seconds of nothing at the pace of speech stands three seconds later."""
    line = Line()
    line.speak(2)
    line.now_s += 3
    line.speak(2)
    assert line.gaps() == [(2.0, 3.0)]
    assert len(sound(line.received)) == 4 * RATE * 2


def test_a_recording_that_stalls_is_no_pause():
    """Who sent ten seconds in one is ahead of the clock: two seconds without anything are no gap."""
    line = Line()
    line.speak(10, pace=10)
    line.now_s += 2
    line.speak(10, pace=10)
    assert line.gaps() == []


def test_a_stalled_network_is_no_gap():
    """What was held back for three seconds and then comes at once is all there: nothing is missing."""
    line = Line()
    line.speak(2)
    line.now_s += 3
    line.speak(3, pace=1000)
    line.speak(2)
    assert line.gaps() == []
    assert len(sound(line.received)) == 7 * RATE * 2


def test_every_pause_is_a_gap():
    """Suppressed silence between words leaves one gap each."""
    line = Line()
    for _ in range(4):
        line.speak(1)
        line.now_s += 1.5
    line.speak(1)
    assert [gap for _, gap in line.gaps()] == [1.5] * 4


def test_a_word_shorter_than_the_hold_is_kept():
    """A packet alone between two silences is neither lost nor delayed for ever."""
    line = Line()
    line.speak(1)
    line.now_s += 2
    line.speak(PACKET_S)
    line.now_s += 2
    line.speak(1)
    assert [gap for _, gap in line.gaps()] == [2.0, 2.0]
    assert len(sound(line.received)) == round(2.02 * RATE) * 2


def test_what_is_held_comes_at_the_end():
    """A call that ends just after a pause ends with all of its audio."""
    line = Line()
    line.speak(1)
    line.now_s += 2
    line.speak(HOLD_S / 2)
    held = len(sound(line.received))
    line.received += line.audio.end()
    assert held < len(sound(line.received)) == round((1 + HOLD_S / 2) / PACKET_S) * len(PACKET)
    assert [gap for _, gap in line.gaps()] == [2.0]


@pytest.mark.parametrize("interval_s", [PAUSE_S, 1.0, 5.0])
def test_long_messages_are_no_pauses(interval_s):
    """Messages of a second's audio come a second apart."""
    now_s = 0.0
    audio = UntimedAudio(RATE, 2, lambda: now_s)
    media = []
    for _ in range(5):
        now_s += interval_s
        media += audio.push(bytes(round(interval_s * RATE) * 2))
    assert [m.at for m in media] == [None] * 5


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=12), st.sampled_from([1, 2, 4, 8]))
def test_where_the_bytes_are_cut_makes_no_difference(data, cuts, width):
    """Any split gives the same whole samples; a part of a sample at the end is an error."""
    audio = UntimedAudio(RATE, width, lambda: 0.0)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    media = [part for a, b in itertools.pairwise(bounds) for part in audio.push(data[a:b])]
    assert sound(media) == data[: len(data) - len(data) % width]
    if len(data) % width:
        with pytest.raises(ProtocolError, match="inside a sample"):
            audio.end()
    else:
        assert audio.end() == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 4000)), max_size=40))
def test_no_audio_is_lost_and_time_goes_forward(steps):
    """Whenever how much arrives: every byte leaves once, in order, at rising positions."""
    now_s, counter = 0.0, itertools.count()
    audio = UntimedAudio(RATE, 2, lambda: now_s)
    sent, media = b"", []
    for pause_s, samples in steps:
        now_s += pause_s
        data = b"".join((next(counter) % 65536).to_bytes(2) for _ in range(samples))
        sent += data
        media += audio.push(data)
    media += audio.end()
    assert sound(media) == sent
    position = 0
    for part in media:
        assert part.at is None or part.at > position
        position = (part.at if part.at is not None else position) + len(part.data) // 2
