"""Who is answered what, how often and where: RFC 3261, sections 17.2 and 18.2, RFC 3581, RFC 6026.

Pure: the time is told, and what is to be sent comes back. A request that comes again is answered again with
what it was answered before; an answer to INVITE goes out again until its ACK is here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fac_stream.protocols.sip import Fields, Request, Response
from fac_stream.protocols.sip_fields import Call, values

T1_S = 0.5
"""Before the first retransmission; doubles with each."""
T2_S = 4.0
"""The longest pause between two."""
LIFETIME_S = 64 * T1_S
"""How long a transaction is remembered: timers B, F, H, J and L."""
MAX_TRANSACTIONS = 4096
DEFAULT_PORT = 5060

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a message came from and answers go."""

    transport: Literal["udp", "tcp"]
    host: str
    port: int
    connection: int = 0
    """Tells TCP connections apart; 0 for UDP."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """Bytes to be sent: one datagram, or so many more on a connection."""

    data: bytes
    peer: Peer


@dataclass(slots=True)
class _Sent:
    """Something that may have to go out again."""

    peer: Peer
    dies_at: float
    data: bytes = b""
    repeat_at: float | None = None
    pause_s: float = T1_S
    success: bool = False
    """A 2xx to an INVITE: somebody waits for its ACK."""

    def repeat(self, now: float) -> Transmit:
        self.pause_s = min(2 * self.pause_s, T2_S)
        self.repeat_at = now + self.pause_s
        return Transmit(self.data, self.peer)


class Transactions:
    """The transactions of all peers."""

    def __init__(self) -> None:
        self._servers: dict[Key, _Sent] = {}
        self._clients: dict[str, _Sent] = {}

    @property
    def full(self) -> bool:
        """Whether no more are remembered: a peer sends more than can be meant."""
        return len(self._servers) >= MAX_TRANSACTIONS

    def known(self, key: Key) -> bool:
        """Whether a request belongs to a transaction that is remembered."""
        return key in self._servers

    def again(self, key: Key) -> list[Transmit]:
        """What a request that came again is answered; nothing while nobody has decided."""
        sent = self._servers[key]
        return [Transmit(sent.data, sent.peer)] if sent.data else []

    def begin(self, received: "Received") -> None:
        """Remember a new request."""
        peer = answer_to(received.call, received.peer)
        self._servers[received.key] = _Sent(peer, received.at + LIFETIME_S)

    def answer(self, key: Key, response: Response, now: float) -> list[Transmit]:
        """Answer a request; a final answer to INVITE is repeated until ``confirm``."""
        sent = self._servers.get(key)
        if sent is None:
            return []
        sent.data = response.encode()
        if response.status < 200:
            return [Transmit(sent.data, sent.peer)]
        sent.dies_at = now + LIFETIME_S
        if key[0] == "INVITE":
            sent.success = response.status < 300
            # RFC 3261, section 13.3.1.4: a 2xx travels end to end, where TCP on one hop promises nothing.
            if sent.success or sent.peer.transport == "udp":
                sent.pause_s, sent.repeat_at = T1_S, now + T1_S
        return [Transmit(sent.data, sent.peer)]

    def confirm(self, key: Key) -> None:
        """The ACK is here."""
        if sent := self._servers.get(key):
            sent.repeat_at, sent.success = None, False

    def request(self, branch: str, request: Request, peer: Peer, now: float) -> list[Transmit]:
        """Send a request of ours (no INVITE), again until it is answered or nobody will."""
        sent = self._clients[branch] = _Sent(peer, now + LIFETIME_S, request.encode())
        if peer.transport == "udp":
            sent.repeat_at = now + T1_S
        return [Transmit(sent.data, peer)]

    def answered(self, branch: str) -> None:
        """A request of ours has its final answer."""
        self._clients.pop(branch, None)

    def tick(self, now: float) -> tuple[list[Transmit], list[Key]]:
        """What goes out again now, and the INVITEs whose 2xx nobody acknowledged in time."""
        transmits = [
            sent.repeat(now)
            for sent in (*self._servers.values(), *self._clients.values())
            if sent.repeat_at is not None and sent.repeat_at <= now < sent.dies_at
        ]
        lost = [key for key, sent in self._servers.items() if sent.success and sent.dies_at <= now]
        self._servers = {key: sent for key, sent in self._servers.items() if sent.dies_at > now}
        self._clients = {branch: sent for branch, sent in self._clients.items() if sent.dies_at > now}
        return transmits, lost


def key_of(call: Call, method: str | None = None) -> Key:
    """The transaction of a request; with ``method``, that of the request it acknowledges or cancels.

    RFC 3261, section 17.2.3; clients older than that have no branch that means anything.
    """
    via, method = call.via, method or call.method
    sent_by = (via.host, str(via.port or DEFAULT_PORT))
    if via.branch:
        return method, via.branch, *sent_by
    return method, call.call_id, call.source.tag, str(call.sequence), *sent_by


def answer_to(call: Call, peer: Peer) -> Peer:
    """Where answers go: RFC 3261, section 18.2.2, and RFC 3581 where the client asks for it."""
    if peer.transport == "tcp" or "rport" in call.via.parameters:
        return peer
    return Peer("udp", peer.host, call.via.port or DEFAULT_PORT)


@dataclass(frozen=True, slots=True)
class Received:
    """A request and where and when it came."""

    request: Request
    call: Call
    """What its fields say."""
    peer: Peer
    at: float
    """Seconds of a steady clock."""

    @property
    def key(self) -> Key:
        """Its transaction."""
        return key_of(self.call)

    def answer(
        self, status: tuple[int, str], tag: str, fields: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Response:
        """An answer with the fields that it takes over; ``tag`` is ours, for a To that has none yet."""
        call, request = self.call, self.request
        own = request.fields.first("To") or ""
        copied = [
            ("Via", self._via()),
            *(("Via", value) for value in values(request.fields, "Via")[1:]),
            ("From", request.fields.first("From") or ""),
            ("To", own if call.target.tag or status[0] == 100 else f"{own};tag={tag}"),
            ("Call-ID", call.call_id),
            ("CSeq", f"{call.sequence} {call.method}"),
        ]
        return Response(*status, Fields((*copied, *fields)), body)

    def _via(self) -> str:
        """The last hop with what it cannot know: RFC 3261, section 18.2.1, and RFC 3581, section 4."""
        via, peer = self.call.via, self.peer
        if via.parameters.get("rport") == "":
            head, *parts = via.text.split(";")
            kept = [part for part in parts if part.strip().lower().rstrip("=") != "rport"]
            return ";".join([head, *kept, f"rport={peer.port}", f"received={peer.host}"])
        return via.text if via.host == peer.host else f"{via.text};received={peer.host}"
