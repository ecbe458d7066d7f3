import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.errors import ProtocolError
from fac_stream.events import EndReason
from fac_stream.protocols.audiohook import AudioHook
from fac_stream.protocols.audiohook_messages import duration, seconds
from fac_stream.protocols.dialogue import CLOSE_CODES, Finish, Hangup, Media, Refusal, Send, Start

GOLDEN = sorted((Path(__file__).parent / "data" / "audiohook").glob("*.json"))
SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
OPEN = {
    "organizationId": ORGANIZATION,
    "conversationId": "090eaa2f-72fa-480a-83e0-8667ff89c0ec",
    "participant": {"id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0", "ani": "", "aniName": "", "dnis": ""},
    "media": [STEREO],
}


def said(kind, seq, parameters=None, serverseq=0, position="PT0S"):
    """A message of the client as text."""
    fields = {"version": "2", "id": SESSION, "type": kind, "seq": seq, "serverseq": serverseq}
    return json.dumps(fields | {"position": position, "parameters": parameters or {}})


def receive(dialogue, message):
    """Feed a message as the golden files write it; do what the shell does about the call."""
    match message:
        case {"text": fields}:
            answers = dialogue.receive_text(json.dumps(fields))
        case {"raw": text}:
            answers = dialogue.receive_text(text)
        case {"repeat": [text, times]}:
            answers = dialogue.receive_text(text * times)
        case {"hex": data, **more}:
            answers = dialogue.receive_bytes(bytes.fromhex(data) * more.get("times", 1))
    for answer in answers:
        yield answer
        if isinstance(answer, Start):
            yield from dialogue.admitted(answer.call_id)
        if isinstance(answer, Finish):
            yield from dialogue.ended(EndReason.COMPLETED)


def plain(answer):
    """An answer as the golden files write it."""
    match answer:
        case Start(audio, call_id, metadata, token):
            fields = {
                "sample_rate": audio.sample_rate,
                "encoding": audio.encoding.value,
                "legs": list(audio.legs),
                "call_id": call_id,
                "metadata": metadata,
                "token": token,
            }
            return {"start": fields}
        case Media(data, None, at, False) if len(data) > 64:
            return {"media": {"at": at, "bytes": len(data)}}
        case Media(data, None, at, False):
            return {"media": {"at": at, "hex": data.hex()}}
        case Send(text):
            return {"send": json.loads(text)}
        case Hangup(code):
            return {"hangup": code}
        case Finish():
            return {"finish": {}}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_sessions(path):
    """Sessions written from the protocol's reference, or heard of the official client, get these answers."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    dialogue, messages = AudioHook(), golden["messages"]
    last = messages.pop() if "error" in golden else None

    answers = [plain(answer) for message in messages for answer in receive(dialogue, message)]

    assert golden["expected"] == answers
    if last:
        with pytest.raises(ProtocolError) as refused:
            list(receive(dialogue, last))
        assert golden["error"] in str(refused.value)


def test_there_are_golden_sessions():
    """An empty folder would pass as well."""
    assert len(GOLDEN) > 40


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_is_said_in_the_protocol_s_words(refusal):
    """``disconnect`` with one of the three reasons, or ``reconnect``; the next number, and then the close."""
    dialogue = AudioHook()
    list(receive(dialogue, {"text": json.loads(said("open", 1, OPEN))}))

    *messages, close = dialogue.refused(refusal, "because")

    (message,) = [json.loads(message.data) for message in messages]
    assert (message["seq"], message["clientseq"], message["id"]) == (2, 1, SESSION)
    assert message["parameters"]["info"] == "because"
    expected = {
        Refusal.STOPPING: ("reconnect", None),
        Refusal.UNAUTHORISED: ("disconnect", "unauthorized"),
        Refusal.TOO_LONG: ("disconnect", "completed"),
    }
    assert (message["type"], message["parameters"].get("reason")) == expected.get(
        refusal, ("disconnect", "error")
    )
    assert close == Hangup(CLOSE_CODES[refusal], "because")


def test_a_refusal_before_any_message_has_a_valid_id():
    """Who says nothing, or nonsense, is answered with an id that the client's parser takes: a UUID."""
    (message, _) = AudioHook().refused(Refusal.PROTOCOL_ERROR, "nonsense")
    assert json.loads(message.data)["id"] == "00000000-0000-0000-0000-000000000000"
    (message, _) = AudioHook(session_id=SESSION).refused(Refusal.PROTOCOL_ERROR, "nonsense")
    assert json.loads(message.data)["id"] == SESSION


def test_a_call_that_ends_without_a_close_is_disconnected():
    """The client is told to close; nothing may follow."""
    dialogue = AudioHook()
    list(receive(dialogue, {"text": json.loads(said("open", 1, OPEN))}))

    message, close = dialogue.ended(EndReason.SOURCE_LOST)

    assert json.loads(message.data)["type"] == "disconnect"
    assert close == Hangup()
    with pytest.raises(ProtocolError):
        dialogue.receive_bytes(b"\xff\xff")


def test_a_socket_that_just_closes_completes_nothing():
    """The call waits for another session then."""
    dialogue = AudioHook()
    list(receive(dialogue, {"text": json.loads(said("open", 1, OPEN))}))
    assert list(dialogue.receive_close()) == []


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ({"session_id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0"}, "id must be that of the session"),
        ({"organization_id": "883efee8-3d6c-4537-b500-6d7ca4b92fa0"}, "Audiohook-Organization-Id"),
    ],
)
def test_open_repeats_what_the_signed_headers_say(header, fault):
    """A signature covers the handshake's ids: a session that names others is not what was signed."""
    with pytest.raises(ProtocolError, match=fault):
        AudioHook(**header).receive_text(said("open", 1, OPEN))


def test_ids_of_the_headers_may_differ_in_case():
    """UUIDs are compared as such."""
    dialogue = AudioHook(session_id=SESSION.upper(), organization_id=ORGANIZATION.upper())
    (start,) = dialogue.receive_text(said("open", 1, OPEN))
    assert isinstance(start, Start)


def test_errors_of_the_client_are_reported():
    """Whoever runs the daemon hears what Genesys complains of, cut to a line."""
    heard = []
    dialogue = AudioHook(on_error=lambda code, text: heard.append((code, text)))
    dialogue.receive_text(said("error", 1, {"code": 415, "message": "x" * 5000}))
    assert heard == [(415, "x" * 1024)]


@given(st.lists(st.tuples(st.sampled_from(["audio", "discarded", "paused"]), st.integers(0, 400_000))))
def test_positions_are_what_came_and_what_was_left_out(steps):
    """Whatever a client sends, discards and pauses: each block's position is the sum of all before it."""
    dialogue = AudioHook()
    list(receive(dialogue, {"text": json.loads(said("open", 1, OPEN))}))
    position, seq = 0, 1

    for kind, samples in steps:
        start, gap = f"PT{position / 8000:.9f}S", f"PT{samples / 8000:.9f}S"
        match kind:
            case "audio":
                size = samples % 1000
                media = dialogue.receive_bytes(b"\xff\x7f" * size)
                assert [(part.at, len(part.data)) for part in media] == [(position, 2 * size)][: bool(size)]
                position += size
            case "discarded":
                dialogue.receive_text(said("discarded", seq := seq + 1, {"start": start, "discarded": gap}))
                position += samples
            case "paused":
                (life,) = dialogue.receive_text(said("paused", seq := seq + 1))
                assert life == Media(b"", at=position)
                dialogue.receive_text(said("resumed", seq := seq + 1, {"start": start, "discarded": gap}))
                position += samples

    (media,) = dialogue.receive_bytes(b"\xff\x7f")
    assert media.at == position


@given(st.integers(0, 8000 * 86400 * 7))
def test_durations_survive_the_wire(samples):
    """A week of samples, as the client writes positions, is read to the sample; ours to the millisecond."""
    assert round(seconds(f"PT{samples / 8000:.9f}S") * 8000) == samples
    assert seconds(duration(samples / 8000)) == pytest.approx(samples / 8000, abs=6e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "PT0S"), (2.0, "PT2S"), (100.0, "PT100S"), (12.5, "PT12.5S"), (0.1251, "PT0.125S")],
)
def test_durations_are_short(value, text):
    """As the reference writes them."""
    assert text == duration(value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
DURATIONS = st.sampled_from(["PT0S", "PT1.5S", "PT.25S", "PT999999999999S", "PT", "P1D", "PT-1S"]) | ANYTHING
GAPS = st.fixed_dictionaries({}, optional={"start": DURATIONS, "discarded": DURATIONS})
PARAMETERS = st.one_of(
    st.just(OPEN),
    ANYTHING,
    GAPS,
    st.fixed_dictionaries({}, optional=dict.fromkeys(OPEN, ANYTHING) | {"customConfig": ANYTHING}).map(
        lambda fields: OPEN | fields
    ),
    st.sampled_from([{"reason": reason} for reason in ("end", "error", "disconnect", "reconnect", "?")]),
    st.fixed_dictionaries({"code": st.integers(399, 10_000), "message": st.text(max_size=5)}),
    st.just({"language": "en-US"}),
)
KINDS = st.sampled_from(
    ["open", "close", "ping", "paused", "resumed", "discarded", "update", "error", "pong", "opened"]
)
STEPS = st.one_of(
    st.tuples(KINDS, PARAMETERS, st.integers(-1, 1), DURATIONS),
    st.tuples(KINDS, PARAMETERS, st.just(0), st.just("PT0S")),
    st.text(max_size=40),
    ANYTHING.map(json.dumps),
    st.binary(max_size=12),
)


@given(st.lists(STEPS, max_size=12), st.booleans())
@settings(max_examples=300)
def test_any_sequence_is_answered_or_refused(steps, opens):
    """Nothing but ProtocolError is raised; what is sent is numbered without a hole, and answers what came."""
    dialogue, seq, sent = AudioHook(), 0, 0
    answers = []
    first = [("open", OPEN, 0, "PT0S")] if opens else []
    try:
        for step in [*first, *steps]:
            match step:
                case (kind, parameters, slip, position):
                    seq += 1
                    text = said(kind, seq + slip, parameters, max(0, sent + slip), position)
                    message = {"raw": text}
                case str():
                    message = {"raw": step}
                case bytes():
                    message = {"hex": step.hex()}
            answers = list(receive(dialogue, message))
            for answer in answers:
                if isinstance(answer, Send):
                    sent += 1
                    fields = json.loads(answer.data)
                    assert (fields["seq"], fields["clientseq"], fields["id"]) == (sent, seq, SESSION)
                    assert len(answer.data) < 65_536
    except ProtocolError:
        answers = dialogue.refused(Refusal.PROTOCOL_ERROR, "broken")
        assert json.loads(answers[0].data)["seq"] == sent + 1
        assert isinstance(answers[-1], Hangup)
