import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import AudioFormat, Encoding, Frame
from fac_stream.audio.legs import CallCutter
from fac_stream.audio.windows import WindowCutter

RATE = 8000
TWO = AudioFormat(RATE, Encoding.MULAW, ("caller", "agent"))
HOP_S = 0.5


def mulaw(seconds, seed):
    """Noise."""
    return np.random.default_rng(seed).integers(0, 256, round(seconds * RATE), np.uint8).tobytes()


def alone(leg, data):
    """The windows of one stream by itself."""
    cutter = WindowCutter(AudioFormat(RATE, Encoding.MULAW, (leg,)), HOP_S)
    return [*cutter.push(Frame(0, data, 0.0)), *cutter.flush()]


def fingerprint(windows):
    """What makes windows equal, in an order that does not depend on the legs' turns."""
    return sorted((w.leg, w.index, w.start_sample, w.samples.tobytes()) for w in windows)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(["caller", "agent"]), st.integers(1, RATE)), max_size=30))
def test_separate_streams_are_cut_as_if_each_were_alone(turns):
    """However two streams take turns, each leg's windows are those of its own audio."""
    audio = {"caller": mulaw(4, 1), "agent": mulaw(3, 2)}
    cutter, sent, windows = CallCutter(TWO, HOP_S), dict.fromkeys(audio, 0), []
    for leg, count in [*turns, ("caller", 4 * RATE), ("agent", 4 * RATE)]:
        piece = audio[leg][sent[leg] : sent[leg] + count]
        if piece:
            windows += cutter.push(Frame(sent[leg], piece, 0.0, leg))
            sent[leg] += len(piece)
    windows += cutter.flush()
    expected = [window for leg, data in audio.items() for window in alone(leg, data)]
    assert fingerprint(windows) == fingerprint(expected)


def test_who_joins_late_has_lost_nothing():
    """A leg that begins at 10 s has its windows there, and no loss before."""
    cutter = CallCutter(TWO, HOP_S)
    cutter.push(Frame(0, mulaw(4, 1), 0.0, "caller"))
    windows = cutter.push(Frame(10 * RATE, mulaw(4, 2), 0.0, "agent"))
    assert windows[0].start_s == 10.0
    assert cutter.lost_s == 0.0
    assert cutter.end_s == 14.0


@given(st.lists(st.tuples(st.integers(1, 800), st.booleans()), min_size=1, max_size=120))
@settings(deadline=None, max_examples=30)
def test_a_window_knows_how_much_of_it_was_made_up(pieces):
    """The share is that of the concealed samples among those that the window covers."""
    cutter = CallCutter(TWO, HOP_S)
    truth, windows, at = [], [], 0
    for count, concealed in pieces * 4:
        windows += cutter.push(Frame(at, bytes(count), 0.0, "caller", concealed))
        truth += [concealed] * count
        at += count
    for window in windows:
        first = window.start_sample // 2
        assert window.concealed == sum(truth[first : first + 2 * RATE]) / (2 * RATE)
