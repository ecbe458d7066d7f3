import pytest

from fac_stream.protocols.sip import Request
from fac_stream.protocols.siprec import Invitation
from tests.peers.siprec import body, metadata, offer
from tests.protocols.recording_client import NEAR, Src, refused

PLAIN = offer([40_000])
SRTP = PLAIN.replace("RTP/AVP", "RTP/SAVP")


@pytest.mark.parametrize(
    ("how", "status", "field"),
    [
        ({"fields": ["Require: siprec, 100rel, foo"]}, 420, ("Unsupported", "100rel, foo")),
        ({"uri": "tel:+15550100"}, 416, None),
        ({"method": "REGISTER"}, 405, ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE")),
        ({"content": "{}", "kind": "application/json"}, 415, None),
        ({"content": PLAIN, "kind": "application/sdp", "fields": ["Content-Encoding: gzip"]}, 415, None),
        ({"content": ""}, 488, None),
        ({"content": metadata(["1"]), "kind": "application/rs-metadata"}, 488, None),
        ({"content": body(SRTP, metadata(["1"]))}, 488, None),
        (
            {"content": body(PLAIN.replace("AVP 0", "AVP 18").replace("PCMU", "G729"), metadata(["1"]))},
            488,
            None,
        ),
        ({"content": body(PLAIN.replace("audio", "video"), metadata(["1"]))}, 488, None),
        ({"content": body("nonsense", metadata(["1"]))}, 400, None),
        ({"content": body(PLAIN, "<!DOCTYPE x><recording/>")}, 400, None),
        ({"content": "no parts"}, 400, None),
        ({"fields": ["Supported: timer", "Session-Expires: 60"]}, 422, ("Min-SE", "90")),
        ({"fields": ["Supported: timer", "Session-Expires: soon"]}, 400, None),
    ],
)
def test_refusals(how, status, field):
    """Every kind of request that cannot be met gets the answer that RFC 3261 has for it, and why."""
    how = {"method": "INVITE", "content": body(PLAIN, metadata(["1"])), "fields": ["Require: siprec"]} | how
    src = Src()
    answer = refused(src.ask(**how, sequence=1), status)
    assert field is None or answer.fields.first(field[0]) == field[1]
    assert (src.outputs, src.server.peers) == ([], set())


def test_ordinary_calls_are_refused():
    """Who asks for no recording session is told to; any sign of one is enough."""
    src = Src()
    plain = src.message("INVITE", PLAIN, sequence=1, kind="application/sdp")
    fields = [(name, value) for name, value in plain.fields if name != "Contact"]
    bare = Request(plain.method, plain.uri, type(plain.fields)(fields), plain.body)
    answer = refused(src.read(src.server.receive(bare, NEAR, 0.0)), 421)
    assert answer.fields.first("Require") == "siprec"
    src.ask("INVITE", PLAIN, sequence=2, kind="application/sdp", fields=["Supported: siprec"])
    assert isinstance(src.outputs[0], Invitation)


def test_strangers_leave_nothing_behind():
    """A peer that may not connect gets 403 and takes no memory."""
    src = Src()
    message = src.message("INVITE", body(PLAIN, metadata(["1"])), sequence=1)
    refused(src.read(src.server.forbid(message, NEAR, 0.0)), 403)
    assert src.server.forbid(src.message("ACK", sequence=1), NEAR, 0.0) == []
    assert not src.server._transactions._servers
