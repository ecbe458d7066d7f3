import base64
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.codec import G722, Codec
from fac_stream.audio.codecs import decode
from fac_stream.audio.frames import Encoding
from fac_stream.audio.payload import PayloadDecoder
from fac_stream.errors import ProtocolError
from fac_stream.events import EndReason
from fac_stream.protocols.dialogue import CLOSE_CODES, Finish, Hangup, Media, Refusal, Start
from fac_stream.protocols.objects import MAX_TEXT_CHARACTERS
from fac_stream.protocols.twilio import MAX_HELD, MAX_IGNORED, MAX_LATE, Track, TwilioStream
from fac_stream.protocols.twilio_family import EitherOrder
from tests.protocols.dialogues import check, check_accepted_or_refused, golden, messages, recorded

FAMILY = ("twilio", "signalwire", "telnyx", "plivo", "exotel")
START = recorded("twilio/both_tracks", 1)
TELNYX_START = recorded("telnyx/pcmu_out_of_order", 1)


def media(chunk, timestamp, payload, track="inbound"):
    """A media message of Twilio's."""
    fields = {"track": track, "payload": base64.b64encode(payload).decode()}
    fields |= {"chunk": str(chunk)} if chunk is not None else {}
    fields |= {"timestamp": str(timestamp)} if timestamp is not None else {}
    return json.dumps({"event": "media", "media": fields})


def started(start=START, token=None):
    """A stream after its start."""
    stream = TwilioStream(token)
    stream.receive_text(json.dumps(start))
    return stream


def heard(said):
    """Leg → its audio as ``(first sample, byte)`` pairs of one-byte samples."""
    legs = {}
    for message in said:
        if isinstance(message, Media):
            legs.setdefault(message.leg, []).extend(enumerate(message.data, message.at))
    return legs


@golden(*FAMILY)
def test_golden_messages(path):
    """Dialogues written from the platforms' pages give what they should, or are refused as they should be."""
    check(path, TwilioStream())


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(*FAMILY), max_size=8))
def test_whatever_comes_is_accepted_or_refused(received):
    """Any messages in any order, also damaged ones, end in messages that are well-formed or a refusal."""
    check_accepted_or_refused(TwilioStream(), received)


@settings(max_examples=100, deadline=None)
@given(st.lists(messages("twilio", "telnyx"), max_size=8))
def test_whatever_comes_after_a_start_is_accepted_or_refused(received):
    """The same inside a call."""
    check_accepted_or_refused(TwilioStream(), [json.dumps(START), *received])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=24), st.randoms(use_true_random=False))
def test_order_within_the_buffer_makes_no_difference(payloads, random):
    """Messages that overtake up to ``MAX_HELD`` others come out as if none had overtaken any."""
    position, texts = 0, []
    for chunk, payload in enumerate(payloads, 1):
        texts.append(media(chunk, position // 8, payload))
        position += len(payload)
    # Each message is late by at most MAX_HELD places.
    late = sorted(range(len(texts)), key=lambda i: i + random.randint(0, MAX_HELD))
    shuffled = started()

    said = [message for i in late for message in shuffled.receive_text(texts[i])]
    said += shuffled.receive_close()

    assert heard(said).get("caller", []) == list(enumerate(b"".join(payloads)))
    assert isinstance(said[-1], Finish)


@settings(deadline=None)
@given(
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=12),
    st.lists(st.sampled_from(["inbound", "outbound"]), min_size=1, max_size=2, unique=True),
)
def test_where_audio_is_cut_into_messages_makes_no_difference(audio, cuts, tracks):
    """However many messages bring it, with the timestamps that go with them, the audio is the same."""
    bounds = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    stream = started()
    said = []
    for chunk, (a, b) in enumerate(itertools.pairwise(bounds), 1):
        for track in tracks:
            said += stream.receive_text(media(chunk, a // 8, audio[a:b], track))
    said += stream.receive_close()

    legs = {"inbound": "caller", "outbound": "agent"}
    expected = {legs[track]: list(enumerate(audio)) for track in tracks} if audio else {}
    assert heard(said) == expected


@given(st.sets(st.integers(1, 40), min_size=1))
@settings(deadline=None)
def test_what_is_lost_is_a_gap_of_its_length(arrived):
    """Whichever 20 ms messages are missing, all others lie where their timestamps say, from the first on."""
    stream = started()
    said = [
        message
        for chunk in sorted(arrived)
        for message in stream.receive_text(media(chunk, 57 + 20 * chunk, bytes([chunk]) * 160))
    ]
    said += stream.receive_close()

    expected = [(160 * (chunk - min(arrived)), chunk) for chunk in sorted(arrived)]
    assert [(m.at, m.data[0]) for m in said if isinstance(m, Media)] == expected


def test_jitter_and_drift_of_timestamps_are_no_gaps():
    """Timestamps that jitter by 40 ms and run 1 % fast for ten minutes leave the audio whole."""
    track = Track("caller", 8000, 1, bytes)
    jitter = np.random.default_rng(1).integers(0, 41, 30_000)
    placed = [
        message
        for i, late in enumerate(jitter)
        for message in track.push(i + 1, 1_700_000_000_000 + round(20.2 * i) + int(late), bytes(160))
    ]
    assert [message.at for message in placed] == [160 * i for i in range(30_000)]


def test_timestamps_in_another_unit_are_not_believed():
    """Timestamps that count samples would be a gap at every message: after three they are ignored."""
    track = Track("caller", 8000, 1, bytes)
    placed = [m for i in range(50) for m in track.push(i + 1, 160 * 8 * i, bytes(160))]
    assert [m.at - before.at for before, m in itertools.pairwise(placed)][4:] == [160] * 45


def test_one_counter_for_both_tracks_only_delays():
    """Where ``chunk`` counts both tracks together, every track has holes; no audio is lost or moved."""
    stream = started()
    said = []
    for i in range(40):
        track = ("inbound", "outbound")[i % 2]
        said += stream.receive_text(media(i + 1, 20 * (i // 2), bytes([i]) * 160, track))
    said += stream.receive_close()

    for leg, first in (("caller", 0), ("agent", 1)):
        placed = [(m.at, m.data[0]) for m in said if isinstance(m, Media) and m.leg == leg]
        assert placed == [(160 * n, first + 2 * n) for n in range(20)]


def test_without_chunk_and_timestamp_audio_is_taken_as_it_comes():
    """Numbers are used where they are there, and not demanded."""
    stream = started()
    said = [m for _ in range(3) for m in stream.receive_text(media(None, None, bytes(160)))]
    assert [m.at for m in said] == [0, 160, 320]


def test_a_stream_that_starts_with_any_chunk_is_heard():
    """A connection that goes on counting where another left off waits for no chunk before its first."""
    stream = started()
    said = [m for n in range(20) for m in stream.receive_text(media(500 + n, 20 * n, bytes(160)))]
    said += stream.receive_close()
    assert [m.at for m in said if isinstance(m, Media)] == [160 * n for n in range(20)]


def test_the_buffer_is_bounded():
    """A chunk that never comes holds back ``MAX_HELD`` messages and not one more."""
    stream = started()
    stream.receive_text(media(1, 0, bytes(160)))
    said = [stream.receive_text(media(chunk, 20 * chunk, bytes(160))) for chunk in range(3, 4 + MAX_HELD)]
    assert [len(messages) for messages in said] == [0] * MAX_HELD + [MAX_HELD + 1]


def test_chunks_that_run_backwards_are_refused_at_last():
    """A sender whose chunks do not count up is told so instead of being ignored for ever."""
    stream = started()
    stream.receive_text(media(1, 0, bytes(160)))
    for _ in range(MAX_LATE):
        assert stream.receive_text(media(1, 0, bytes(160))) == []
    with pytest.raises(ProtocolError, match="count up"):
        stream.receive_text(media(1, 0, bytes(160)))


def test_messages_without_audio_are_bounded():
    """Marks and unknown events are ignored, but not without end; audio in between starts the count anew."""
    stream = started()
    mark = json.dumps({"event": "mark"})
    for chunk in (1, 2):
        for _ in range(MAX_IGNORED):
            assert stream.receive_text(mark) == []
        assert stream.receive_text(media(chunk, 20 * chunk, bytes(160)))
    for _ in range(MAX_IGNORED):
        stream.receive_text(mark)
    with pytest.raises(ProtocolError, match="without audio"):
        stream.receive_text(mark)


def test_long_messages_are_refused_unparsed():
    """The length is looked at first."""
    with pytest.raises(ProtocolError, match=str(MAX_TEXT_CHARACTERS)):
        TwilioStream().receive_text(" " * (MAX_TEXT_CHARACTERS + 1))


def test_a_large_start_keeps_what_fits():
    """Custom parameters beyond the bound on metadata are left out; the call is taken."""
    start = json.loads(json.dumps(START))
    start["start"]["customParameters"] = {"novel": "x" * 20_000}
    (begun,) = TwilioStream().receive_text(json.dumps(start))
    assert isinstance(begun, Start)
    assert "parameters" not in begun.metadata


def test_a_token_of_the_handshake_counts_where_the_stream_has_none():
    """Telnyx sends its token as a header, too; what stands in the stream goes before."""
    (begun,) = TwilioStream("from-header").receive_text(json.dumps(TELNYX_START))
    assert begun.token == "from-header"
    (begun,) = TwilioStream("from-header").receive_text(json.dumps(START))
    assert begun.token == "per-call-7"


def test_nothing_is_ever_sent_but_a_close():
    """Twilio breaks off a one-way stream that is talked to: the only answer is the end."""
    stream = started()
    assert stream.admitted("CA1") == []
    assert stream.ended(EndReason.COMPLETED) == [Hangup(1000, "completed")]
    for refusal in Refusal:
        assert stream.refused(refusal, "why") == [Hangup(CLOSE_CODES[refusal], "why")]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["<i2", ">i2"]),
    st.integers(20, 30_000),
    st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_either_byte_order_is_recognised(seed, order, amplitude, sizes):
    """A tone with a little noise comes out little-endian, whichever order it came in, from its start."""
    n = sum(sizes) + 64
    noise = np.random.default_rng(seed).normal(0, amplitude / 50, n)
    tone = np.rint(amplitude * np.sin(np.arange(n) / 8) + noise).clip(-32768, 32767)
    read = EitherOrder()
    bounds = np.cumsum([0, 64, *sizes])
    out = b"".join(read(tone[a:b].astype(order).tobytes()) for a, b in itertools.pairwise(bounds))
    assert np.array_equal(np.frombuffer(out, "<i2"), tone)


def test_g722_of_telnyx_is_decoded():
    """A codec that calls are not scored in becomes 16 kHz PCM, with the decoder's memory across messages."""
    start = json.loads(json.dumps(TELNYX_START))
    start["start"]["media_format"] = {"encoding": "G722", "sample_rate": 8000, "channels": 1}
    stream = TwilioStream()
    (begun,) = stream.receive_text(json.dumps(start))
    payload = np.random.default_rng(3).bytes(1600)
    said = [
        message
        for chunk in range(10)
        for message in stream.receive_text(
            media(chunk + 1, 20 * chunk, payload[160 * chunk : 160 * (chunk + 1)])
        )
    ]

    assert (begun.format.sample_rate, begun.format.encoding) == (16_000, Encoding.PCM_S16LE)
    assert [m.at for m in said] == [320 * n for n in range(10)]
    samples = decode(b"".join(m.data for m in said), Encoding.PCM_S16LE, 1)[:, 0]
    assert np.allclose(samples, PayloadDecoder(Codec(G722, 8000)).decode([payload]), atol=1e-4)


def test_opus_that_is_none_is_refused():
    """An empty frame count, which the decoder cannot place in time, is a broken protocol."""
    start = json.loads(json.dumps(TELNYX_START))
    start["start"]["media_format"] = {"encoding": "OPUS", "sample_rate": 48000, "channels": 1}
    stream = started(start)
    with pytest.raises(ProtocolError, match="Opus"):
        stream.receive_text(media(1, 0, b"\x03\x00"))
