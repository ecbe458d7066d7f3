"""A recording client without a network: requests in, answers out, at a time of the test's choosing."""

import itertools

from fac_stream.protocols import sdp
from fac_stream.protocols.sip import parse
from fac_stream.protocols.sip_transactions import Peer, Transmit
from fac_stream.protocols.siprec import RecordingServer
from tests.peers.siprec import BOUNDARY, body, metadata, offer

NEAR = Peer("udp", "192.0.2.1", 5060)
BOTH = f"multipart/mixed;boundary={BOUNDARY}"


class Src:
    """A client's requests to a server at once; ``outputs`` are those of the last one that are not sent."""

    def __init__(self, peer=NEAR):
        tags = itertools.count(1)
        self.server = RecordingServer("192.0.2.9:5080", lambda: f"ours{next(tags)}")
        self.peer = peer
        self.to = "<sip:srs@192.0.2.9>"
        self.now = 0.0
        self.outputs = []
        self.sent = []

    def message(
        self, method, content="", *, sequence, branch=None, uri="sip:srs@192.0.2.9", fields=(), kind=BOTH
    ):
        """A request as it is read."""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.peer.transport.upper()} 192.0.2.1;branch=z9hG4bK{branch or sequence}",
            "From: <sip:src@192.0.2.1>;tag=theirs",
            f"To: {self.to}",
            "Call-ID: call-1",
            f"CSeq: {sequence} {method}",
            "Contact: <sip:src@192.0.2.1:5070>;+sip.src",
            *fields,
            *([f"Content-Type: {kind}"] if content else []),
        ]
        return parse("\r\n".join([*lines, "", content]).encode())

    def ask(self, method, content="", **how):
        """Send it; returns the answers that came back."""
        self.outputs = self.server.receive(self.message(method, content, **how), self.peer, self.now)
        return self.read(self.outputs)

    def read(self, outputs):
        """Messages among outputs; the others are left in ``outputs``."""
        self.sent = [output for output in outputs if isinstance(output, Transmit)]
        self.outputs = [output for output in outputs if not isinstance(output, Transmit)]
        return [parse(transmit.data) for transmit in self.sent]

    def invite(self, *, fields=("Require: siprec",), sequence=1):
        """A call with two streams, accepted; returns its 200."""
        content = body(offer([40_000, 40_002]), metadata(["1", "2"]))
        assert self.ask("INVITE", content, sequence=sequence, fields=fields) == []
        [invitation] = self.outputs
        (answer,) = self.accept(invitation)
        self.dialog, self.to = invitation.dialog, answer.fields.first("To")
        return answer

    def accept(self, asked):
        """Agree with two ports."""
        answer = asked.offer and sdp.answer(asked.offer, "192.0.2.9", [50_000, 50_002], "recvonly")
        return self.read(self.server.accept(asked.dialog, answer, self.now))


def refused(answers, status):
    """Exactly this final answer, with a reason for people and a tag."""
    (answer,) = answers
    assert answer.status == status
    assert answer.fields.first("Warning").startswith('399 fac-stream "')
    assert ";tag=" in answer.fields.first("To")
    return answer
