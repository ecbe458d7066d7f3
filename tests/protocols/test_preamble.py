import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.events import EndReason
from fac_stream.protocols.dialogue import CLOSE_CODES, Finish, Hangup, Refusal
from fac_stream.protocols.jambonz import jambonz_stream
from fac_stream.protocols.preamble import MAX_IGNORED
from fac_stream.protocols.vonage import vonage_stream
from tests.protocols.dialogues import check, check_accepted_or_refused, golden, messages, recorded

STREAMS = {"jambonz": jambonz_stream, "vonage": vonage_stream}
FIRST = {
    "jambonz": json.dumps(recorded("jambonz/stereo", 0)),
    "vonage": json.dumps(recorded("vonage/call", 0)),
}
both = pytest.mark.parametrize("system", STREAMS)


def fresh(system, now=lambda: 0.0):
    """A stream; without a clock its messages all come at the same moment."""
    return STREAMS[system](now)


@golden(*STREAMS)
def test_golden_messages(path):
    """Dialogues written from the vendor's page give what they should, or are refused as they should be."""
    check(path, fresh(path.parent.name))


@both
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_comes_is_accepted_or_refused(system, data):
    """Any messages in any order, also damaged ones, end in messages that are well-formed or a refusal."""
    check_accepted_or_refused(fresh(system), data.draw(st.lists(messages(system), max_size=6)))


@both
@settings(deadline=None)
@given(frames=st.integers(0, 100), cuts=st.lists(st.integers(0, 400), max_size=12), data=st.data())
def test_where_messages_are_cut_makes_no_difference(system, frames, cuts, data):
    """Any split of the audio gives the same bytes."""
    stream = fresh(system)
    (start,) = stream.receive_text(FIRST[system])
    size = frames * start.format.frame_width
    audio = data.draw(st.binary(min_size=size, max_size=size))
    bounds = [0, *sorted(min(cut, size) for cut in cuts), size]
    said = [m for a, b in itertools.pairwise(bounds) for m in stream.receive_bytes(audio[a:b])]

    assert b"".join(media.data for media in said) == audio
    assert stream.receive_close() == [Finish()]
    assert stream.receive_close() == []


@both
def test_a_pause_is_a_gap(system):
    """After two seconds without a message the audio goes on two seconds later."""
    clock = [0.0]
    stream = fresh(system, lambda: clock[0])
    (start,) = stream.receive_text(FIRST[system])
    rate, width = start.format.sample_rate, start.format.frame_width
    said = []
    for step in (0.0, *[0.02] * 9, 2.02, *[0.02] * 9):
        clock[0] += step
        said += stream.receive_bytes(bytes(rate // 50 * width))
    said += stream.receive_close()

    assert [round(m.at / rate, 2) for m in said[:-1] if m.at is not None] == [2.2]


@both
def test_messages_without_audio_are_bounded(system):
    """Keys and marks are ignored, but not without end."""
    stream = fresh(system)
    stream.receive_text(FIRST[system])
    for _ in range(MAX_IGNORED):
        assert stream.receive_text('{"event": "dtmf"}') == []
    with pytest.raises(ProtocolError, match="without audio"):
        stream.receive_text('{"event": "dtmf"}')


@both
def test_nothing_is_ever_sent_but_a_close(system):
    """The call's other parties would hear what is sent back."""
    stream = fresh(system)
    assert stream.admitted("1") == []
    assert stream.ended(EndReason.COMPLETED) == [Hangup(1000, "completed")]
    for refusal in Refusal:
        assert stream.refused(refusal, "why") == [Hangup(CLOSE_CODES[refusal], "why")]
