import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.events import EndReason
from fac_stream.protocols.asterisk import FORMATS, MAX_EARLY_BYTES, MAX_TEXT_CHARACTERS, AsteriskStream
from fac_stream.protocols.dialogue import Finish, Hangup, Media, Refusal, Send, Start
from fac_stream.protocols.pcm import MAX_METADATA_BYTES
from tests.protocols.conversations import check, golden, plain, read, receive, sound, stopped_clock

GOLDEN = golden("asterisk")
JSON_START = '{"event": "MEDIA_START", "format": "slin16", "channel_id": "pbx1-1.2"}'
PLAIN_START = "MEDIA_START connection_id:c channel:WebSocket/c/0x1 channel_id:pbx1-1.2 format:ulaw"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_messages(path):
    """Recorded conversations give the recorded messages, or the recorded refusal at their last message."""
    recorded = read(path)
    stream = AsteriskStream(recorded["parameters"], now=stopped_clock)
    check(recorded, lambda message: receive(stream, message), recorded["messages"])


def test_there_are_golden_messages():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 20


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["MEDIA_START", "DTMF_END"]) | ANYTHING,
        "format": st.sampled_from(list(FORMATS)) | ANYTHING,
        "channel_id": ANYTHING,
        "connection_id": ANYTHING,
        "channel_variables": st.dictionaries(
            st.sampled_from(["token", "leg", "call_id", "caller"]), ANYTHING, max_size=4
        )
        | ANYTHING,
    },
)
MESSAGES = st.one_of(
    FIELDS.map(json.dumps),
    st.sampled_from([JSON_START, PLAIN_START]),
    st.text(),
    st.text().map("MEDIA_START ".__add__),
    st.binary(max_size=64),
    st.none(),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["leg", "call_id", "token", "channel", "caller"]), st.text(max_size=8), max_size=5
)


@settings(max_examples=400, deadline=None)
@given(PARAMETERS, st.lists(MESSAGES, max_size=6))
def test_whatever_comes_is_accepted_or_refused(parameters, messages):
    """The parser gives messages or raises ProtocolError; what it says of a call is small and has no token."""
    stream = AsteriskStream(parameters)
    try:
        for message in messages:
            for answer in receive(stream, message):
                assert isinstance(answer, Start | Media | Finish)
                if isinstance(answer, Start):
                    size = len(json.dumps(answer.metadata, ensure_ascii=False).encode())
                    assert size <= MAX_METADATA_BYTES
                    assert "token" not in answer.metadata
    except ProtocolError:
        pass
    assert isinstance(stream.refused(Refusal.FULL, "full")[-1], Hangup)


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8), st.integers(0, 8))
def test_where_messages_are_cut_makes_no_difference(data, cuts, early):
    """Any split of the audio, any part of it before MEDIA_START, gives the same samples."""
    stream = AsteriskStream({}, now=stopped_clock)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(bounds)]
    messages = [*pieces[:early], JSON_START, *pieces[early:]]
    received = [answer for message in messages for answer in receive(stream, message)]
    assert sound(received) == data[: len(data) // 2 * 2]


def test_audio_that_never_gets_a_start_is_bounded():
    """A peer that only sends audio is refused before it fills the memory."""
    stream = AsteriskStream({})
    for _ in range(MAX_EARLY_BYTES // 640):
        assert stream.receive_bytes(bytes(640)) == ()
    with pytest.raises(ProtocolError, match="no MEDIA_START"):
        stream.receive_bytes(bytes(640))


def test_a_text_message_is_bounded():
    """Asterisk itself sends none longer than 65,500 bytes."""
    with pytest.raises(ProtocolError, match="at most"):
        AsteriskStream({}).receive_text("{" + " " * MAX_TEXT_CHARACTERS)


def test_many_channel_variables_do_not_cost_the_call():
    """What does not fit is left out; what Asterisk says of the channel comes first."""
    variables = {f"VAR{n}": "x" * 100 for n in range(300)}
    fields = {"event": "MEDIA_START", "format": "slin", "channel_id": "1.2", "channel_variables": variables}
    (start,) = AsteriskStream({"caller": "7"}).receive_text(json.dumps(fields))
    assert start.metadata["channel_id"] == "1.2"
    assert 50 < len(start.metadata) < 100


@pytest.mark.parametrize(
    ("start", "command"), [(PLAIN_START, "HANGUP"), (JSON_START, '{"command": "HANGUP"}')]
)
def test_it_hangs_up_in_the_words_of_the_call(start, command):
    """A call that is not taken is hung up by a command of the format that it speaks."""
    stream = AsteriskStream({})
    stream.receive_text(start)
    assert [plain(r) for r in stream.refused(Refusal.FULL, "full")] == [{"send": command}, {"hangup": 1013}]
    assert [plain(r) for r in stream.ended(EndReason.COMPLETED)] == [{"send": command}, {"hangup": 1000}]


def test_nothing_is_said_before_the_format_is_known():
    """Without MEDIA_START there is no channel that could be hung up: the socket is closed, no more."""
    (only,) = AsteriskStream({}).refused(Refusal.UNAUTHORISED, "no token")
    assert isinstance(only, Hangup)


def test_a_pause_of_the_media_is_a_gap():
    """Asterisk does not make up frames that it does not have: what follows stands where the clock stands."""
    now_s = 0.0
    stream = AsteriskStream({}, now=lambda: now_s)
    stream.receive_text(PLAIN_START)
    received = []
    for n in range(100):
        now_s = n * 0.02 + (4.0 if n >= 50 else 0.0)
        received += stream.receive_bytes(bytes(160))
    received += stream.receive_close()
    assert [m.at for m in received if isinstance(m, Media) and m.at is not None] == [50 * 160 + 4 * 8000]
    assert len(sound(received)) == 100 * 160


def test_it_has_nothing_to_say_of_a_call_that_goes_on():
    """No message of Asterisk's could carry it."""
    stream = AsteriskStream({})
    assert [*stream.admitted("x"), *stream.event(None)] == []
    assert not any(isinstance(reply, Send) for reply in stream.ended(EndReason.COMPLETED))
