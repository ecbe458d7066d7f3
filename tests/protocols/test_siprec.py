from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.protocols import sdp
from fac_stream.protocols.sip import Response
from fac_stream.protocols.sip_fields import call_of
from fac_stream.protocols.sip_transactions import LIFETIME_S, Received
from fac_stream.protocols.siprec import Change, Ended, Invitation
from fac_stream.protocols.siprec_requests import BUSY
from tests.peers.siprec import BOUNDARY, body, metadata, offer
from tests.protocols.recording_client import NEAR, Src, refused


def test_a_recording_session():
    """INVITE, ACK, BYE: an answer with recvonly and labels, the people, and the end."""
    src = Src()
    answer = src.invite()
    assert answer.status == 200
    assert answer.fields.first("Contact") == "<sip:192.0.2.9:5080;transport=udp>;+sip.srs"
    assert answer.fields.first("Content-Type") == "application/sdp"
    lines = sdp.parse(answer.body.decode()).media
    assert [(line.port, line.label, line.direction) for line in lines] == [
        (50_000, "1", "recvonly"),
        (50_002, "2", "recvonly"),
    ]
    assert src.sent[0].peer == NEAR
    assert src.ask("ACK", sequence=1, branch="ack") == []
    assert src.server.tick(5.0) == []
    (bye,) = src.ask("BYE", sequence=2)
    assert (bye.status, src.outputs, src.server.peers) == (200, [Ended(src.dialog)], set())
    refused(src.ask("BYE", sequence=3), 481)


def test_an_invitation_says_who_and_what():
    """Call-ID, client, streams and people reach the shell."""
    src = Src()
    src.ask("INVITE", body(offer([40_000]), metadata(["1"])), sequence=1)
    [invitation] = src.outputs
    assert isinstance(invitation, Invitation)
    assert (invitation.call_id, invitation.source) == ("call-1", "sip:src@192.0.2.1")
    assert [line.label for line in invitation.offer.media] == ["1"]
    assert invitation.recording.speakers("1") == ("part-1",)


def test_requests_that_come_again_are_answered_again():
    """By branch: the same answer, and nothing happens twice."""
    src = Src()
    content = body(offer([40_000, 40_002]), metadata(["1", "2"]))
    src.ask("INVITE", content, sequence=1)
    [invitation] = src.outputs
    (trying,) = src.ask("INVITE", content, sequence=1)
    assert (trying.status, trying.fields.first("To"), src.outputs) == (100, src.to, [])
    accepted = src.accept(invitation)
    assert src.ask("INVITE", content, sequence=1) == accepted
    assert src.outputs == []
    refused(src.ask("INVITE", content, sequence=1, branch="elsewhere"), 482)
    src.to = accepted[0].fields.first("To")
    first = src.ask("BYE", sequence=2)
    assert src.outputs == [Ended(invitation.dialog)]
    assert src.ask("BYE", sequence=2) == first
    assert src.outputs == []


def test_hold_and_resumption():
    """An inactive stream is answered so; the answer's version grows; UPDATE may carry it as well."""
    src = Src()
    first = sdp.parse(src.invite().body.decode())
    for sequence, method, direction, expected in (
        (2, "INVITE", "inactive", "inactive"),
        (3, "UPDATE", "sendonly", "recvonly"),
        (4, "INVITE", "sendrecv", "recvonly"),
    ):
        content = body(offer([40_000, 40_002], direction=direction), metadata(["1"], mode="partial"))
        src.ask(method, content, sequence=sequence)
        [change] = src.outputs
        assert isinstance(change, Change)
        assert [line.direction for line in change.offer.media] == [direction] * 2
        assert change.recording.speakers("2") == ("part-2",)
        (answer,) = src.accept(change)
        second = sdp.parse(answer.body.decode())
        assert [line.direction for line in second.media] == [expected] * 2
        assert (second.session_id, second.version) == (first.session_id, sequence)


def test_changes_without_streams():
    """An UPDATE with metadata is agreed to without SDP; a bare re-INVITE gets ours."""
    src = Src()
    first = src.invite()
    src.ask("UPDATE", metadata(["1"], mode="partial"), kind="application/rs-metadata+xml", sequence=2)
    [change] = src.outputs
    assert change.offer is None
    (answer,) = src.accept(change)
    assert (answer.status, answer.body) == (200, b"")
    src.ask("INVITE", sequence=3)
    (answer,) = src.accept(src.outputs[0])
    assert answer.body == first.body
    src.ask("UPDATE", sequence=4)
    (answer,) = src.accept(src.outputs[0])
    assert answer.body == b""


def test_a_change_that_is_refused_changes_nothing():
    """The call goes on as it was."""
    src = Src()
    src.invite()
    src.ask("INVITE", body(offer([1, 2, 3]), metadata(["1"])), sequence=2)
    refused(src.read(src.server.refuse(src.dialog, BUSY, "no port", retry_s=10)), 486)
    src.ask("UPDATE", sequence=3)
    assert src.outputs[0].recording.speakers("2") == ("part-2",)


def test_requests_out_of_order():
    """A CSeq that was is not; one change at a time; other tags are other calls."""
    src = Src()
    src.invite(sequence=7)
    refused(src.ask("UPDATE", sequence=7, branch="again"), 500)
    src.ask("UPDATE", sequence=8)
    assert refused(src.ask("UPDATE", sequence=9), 500).fields.first("Retry-After") == "1"
    src.to = "<sip:srs@192.0.2.9>;tag=another"
    refused(src.ask("UPDATE", sequence=10), 481)
    src.to = "<sip:srs@192.0.2.9>"
    refused(src.ask("BYE", sequence=11), 481)
    assert src.ask("ACK", sequence=12) == []


def test_cancel():
    """What is not decided yet is over: 200 to the CANCEL, 487 to the INVITE; what is decided stays."""
    src = Src()
    src.ask("INVITE", body(offer([40_000]), metadata(["1"])), sequence=1)
    [invitation] = src.outputs
    done, over = src.ask("CANCEL", sequence=1)
    assert (done.status, over.status) == (200, 487)
    assert over.fields.first("CSeq") == "1 INVITE"
    assert src.outputs == [Ended(invitation.dialog)]
    assert src.server.accept(invitation.dialog, None, 0.0) == []

    src = Src()
    src.invite()
    (done,) = src.ask("CANCEL", sequence=1)
    assert (done.status, src.outputs, src.server.peers) == (200, [], {NEAR})
    refused(src.ask("CANCEL", sequence=2), 481)


def test_bye_while_a_change_is_undecided():
    """Both requests get their answers."""
    src = Src()
    src.invite()
    src.ask("INVITE", sequence=2)
    assert [answer.status for answer in src.ask("BYE", sequence=3)] == [487, 200]
    assert src.outputs == [Ended(src.dialog)]


def test_options():
    """A client that asks whether anybody is there learns what is understood, in a dialog and outside."""
    src = Src()
    (answer,) = src.ask("OPTIONS", sequence=1)
    assert answer.status == 200
    assert answer.fields.first("Allow") == "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE"
    assert "application/rs-metadata+xml" in answer.fields.first("Accept")
    assert "siprec" in answer.fields.first("Supported")
    src.invite(sequence=2)
    assert src.ask("OPTIONS", sequence=3)[0].status == 200


def test_who_never_acknowledges_is_hung_up():
    """The 200 goes out again for 32 s; then BYE, and the call is lost."""
    src = Src()
    src.invite()
    again = src.read(src.server.tick(0.6))
    assert [answer.status for answer in again] == [200]
    (bye,) = src.read(src.server.tick(LIFETIME_S + 1))
    [ended] = src.outputs
    assert (bye.method, bye.uri) == ("BYE", "sip:src@192.0.2.1:5070")
    assert ended.dialog == src.dialog
    assert "acknowledged" in ended.lost


def test_session_timers():
    """A client that promises to refresh is believed until it fails to; one that wants us to gets no timer."""
    src = Src()
    answer = src.invite(fields=["Require: siprec", "Supported: timer", "Session-Expires: 1800;refresher=uac"])
    src.ask("ACK", sequence=1)
    assert answer.fields.first("Session-Expires") == "1800;refresher=uac"
    assert answer.fields.first("Require") == "timer"
    src.now = 1700.0
    src.ask("UPDATE", sequence=2, fields=["Supported: timer", "Session-Expires: 1800"])
    src.accept(src.outputs[0])
    assert src.server.tick(3400.0) == []
    (bye,) = src.read(src.server.tick(3480.0))
    assert bye.method == "BYE"
    assert "did not refresh" in src.outputs[0].lost

    src = Src()
    answer = src.invite(fields=["Supported: timer", "Session-Expires: 1800;refresher=uas"])
    src.ask("ACK", sequence=1)
    assert answer.fields.first("Session-Expires") is None
    assert src.server.tick(10_000.0) == []


def test_hanging_up():
    """BYE goes along the client's route, again until it is answered."""
    src = Src()
    src.invite(fields=["Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>", "Require: siprec"])
    src.ask("ACK", sequence=1)
    (bye,) = src.read(src.server.hang_up(src.dialog, "idle", 10.0))
    assert bye.fields.all("Route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
    assert bye.fields.first("From") == src.to
    assert bye.fields.first("To") == "<sip:src@192.0.2.1>;tag=theirs"
    assert [message.method for message in src.read(src.server.tick(10.6))] == ["BYE"]
    done = Response(200, "OK", type(bye.fields)([("Via", bye.fields.first("Via"))]))
    assert src.server.receive(done, NEAR, 11.0) == []
    assert src.server.tick(20.0) == []
    assert src.server.hang_up(src.dialog, "idle", 21.0) == []


def test_a_flood_is_turned_away():
    """More transactions than can be meant are answered 503, and forgotten."""
    src = Src()
    for sequence in range(1, 4097):
        src.server._transactions.begin(_received(src, sequence))
    (answer,) = src.ask("OPTIONS", sequence=5000)
    assert (answer.status, answer.fields.first("Retry-After")) == (503, "10")
    src.server.tick(LIFETIME_S + 1)
    assert src.ask("OPTIONS", sequence=5001)[0].status == 200


def _received(src, sequence):
    message = src.message("OPTIONS", sequence=sequence)
    return Received(message, call_of(message), NEAR, 0.0)


METHODS = st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO"])
CONTENTS = st.sampled_from(
    [
        "",
        body(offer([1, 2]), metadata(["1", "2"])),
        body(offer([1, 0], direction="inactive"), metadata(["2"], mode="partial")),
        body(offer([]), "<recording/>"),
        f"--{BOUNDARY}\r\n\r\n",
        "junk",
    ]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            "Require: siprec",
            "Require: other",
            "Supported: timer",
            "Session-Expires: 90",
            "Session-Expires: ;",
            "Contact: <",
            "Record-Route: ,,<sip:p>",
            "Content-Encoding: x",
        ]
    ),
    max_size=3,
)
STEPS = st.lists(
    st.tuples(METHODS, CONTENTS, FIELDS, st.integers(1, 5), st.sampled_from([None, "a", "b"]), st.booleans()),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_any_order_of_requests_is_answered(steps):
    """Every request but ACK gets answers, nothing is raised, and no dialog outlives its end."""
    src = Src()
    for method, content, fields, sequence, branch, accepts in steps:
        answers = src.ask(method, content, sequence=sequence, branch=branch, fields=fields)
        assert method != "ACK" or not answers
        for output in src.outputs:
            if isinstance(output, Invitation | Change):
                if accepts:
                    answer = output.offer and sdp.answer(
                        output.offer, "192.0.2.9", [9] * len(output.offer.media), "recvonly"
                    )
                    (accepted,) = src.read(src.server.accept(output.dialog, answer, src.now))
                    src.to = accepted.fields.first("To")
                else:
                    (no,) = src.read(src.server.refuse(output.dialog, BUSY, 'a "reason"'))
                    assert no.status == 486
        src.now += 1.0
        src.server.tick(src.now)
    src.server.tick(src.now + 1e6)
    assert len(src.server._transactions._servers) == 0
