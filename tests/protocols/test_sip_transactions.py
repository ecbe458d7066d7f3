import itertools

import pytest

from fac_stream.protocols.sip import parse
from fac_stream.protocols.sip_fields import call_of
from fac_stream.protocols.sip_transactions import (
    LIFETIME_S,
    T2_S,
    Peer,
    Received,
    Transactions,
    Transmit,
    answer_to,
    key_of,
)

INVITE = """\
INVITE sip:srs@192.0.2.9 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1
Via: SIP/2.0/TCP src.example.com;branch=z9hG4bK0
From: <sip:src@192.0.2.1>;tag=theirs
To: <sip:srs@192.0.2.9>
Call-ID: call@192.0.2.1
CSeq: 1 INVITE

"""


def crlf(text):
    """Bytes as SIP wants them."""
    return text.replace("\n", "\r\n").encode()


NEAR = Peer("udp", "192.0.2.1", 1024)


def received(text=INVITE, peer=NEAR):
    """A request as it came."""
    request = parse(crlf(text))
    return Received(request, call_of(request), peer, 0.0)


def test_answers_go_where_the_last_hop_says():
    """RFC 3261, section 18.2.2: to the port of the Via; RFC 3581: to where it came from, if asked for."""
    assert answer_to(received().call, received().peer) == Peer("udp", "192.0.2.1", 5070)
    asked = received(INVITE.replace("z9hG4bK1", "z9hG4bK1;rport"))
    assert answer_to(asked.call, asked.peer) == Peer("udp", "192.0.2.1", 1024)
    assert asked.answer((200, "OK"), "ours").fields.first("Via") == (
        "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=1024;received=192.0.2.1"
    )
    proxied = received(peer=Peer("tcp", "198.51.100.1", 7, 3))
    assert answer_to(proxied.call, proxied.peer) == proxied.peer
    assert proxied.answer((200, "OK"), "ours").fields.first("Via").endswith(";received=198.51.100.1")


def test_answers_take_their_fields_over():
    """Every Via in order, From, To with a tag, Call-ID, CSeq; 100 has no tag."""
    answer = received().answer((486, "Busy Here"), "ours", [("Retry-After", "10")])

    assert answer.encode() == crlf(
        "SIP/2.0 486 Busy Here\n"
        "Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1\n"
        "Via: SIP/2.0/TCP src.example.com;branch=z9hG4bK0\n"
        "From: <sip:src@192.0.2.1>;tag=theirs\n"
        "To: <sip:srs@192.0.2.9>;tag=ours\n"
        "Call-ID: call@192.0.2.1\n"
        "CSeq: 1 INVITE\n"
        "Retry-After: 10\n"
        "Content-Length: 0\n\n"
    )
    assert received().answer((100, "Trying"), "ours").fields.first("To") == "<sip:srs@192.0.2.9>"


def times(transactions, until, step=0.05):
    """When something goes out again."""
    sent, now = [], 0.0
    while now < until:
        now += step
        sent += [round(now, 1)] * len(transactions.tick(now)[0])
    return sent


def opened(transport, status):
    """A transaction that got its final answer at 0."""
    transactions, one = Transactions(), received(peer=Peer(transport, "192.0.2.1", 5070))
    transactions.begin(one)
    answer = one.answer((status, "x"), "ours")
    assert transactions.answer(one.key, answer, 0.0) == [Transmit(answer.encode(), one.peer)]
    return transactions, one


@pytest.mark.parametrize(("transport", "status"), [("udp", 200), ("udp", 486), ("tcp", 200)])
def test_answers_to_invite_are_repeated(transport, status):
    """0.5 s, doubling up to 4 s, until the ACK is here or nobody waits for it any more."""
    transactions, one = opened(transport, status)

    pauses = [b - a for a, b in itertools.pairwise([0.0, *times(transactions, LIFETIME_S + 5)])]

    assert pauses[:5] == pytest.approx([0.5, 1.0, 2.0, 4.0, 4.0], abs=0.2)
    assert max(pauses) < T2_S + 0.2
    assert not transactions.known(one.key)


def test_an_ack_ends_the_repeating():
    """And a 2xx that never got one is reported."""
    transactions, one = opened("udp", 200)
    transactions.confirm(one.key)
    assert times(transactions, LIFETIME_S - 1) == []
    assert transactions.tick(LIFETIME_S + 1) == ([], [])

    transactions, one = opened("udp", 200)
    assert transactions.tick(LIFETIME_S + 1) == ([], [one.key])


def test_reliable_refusals_are_not_repeated():
    """On TCP a refusal arrives by itself."""
    assert times(opened("tcp", 486)[0], LIFETIME_S) == []


def test_transactions_are_told_apart():
    """By branch, hop and method; older clients by the fields that name the request."""
    one = received()
    assert key_of(one.call) == key_of(received(INVITE.replace("Call-ID: call", "Call-ID: other")).call)
    assert key_of(one.call) != key_of(received(INVITE.replace("z9hG4bK1", "z9hG4bK2")).call)
    assert key_of(one.call) != key_of(received(INVITE.replace("5070", "5071")).call)
    assert key_of(one.call, "ACK") != key_of(one.call)
    old = INVITE.replace("branch=z9hG4bK1", "branch=1")
    assert key_of(received(old).call) == key_of(received(old.replace("branch=1", "branch=2")).call)
    assert key_of(received(old).call) != key_of(received(old.replace("CSeq: 1", "CSeq: 2")).call)
