"""A minimal recording server: RFC 7866 on RFC 3261, without I/O.

::

    messages ──► RecordingServer ──► Invitation, Change, Ended ──► the shell: calls, ports
             ◄──    Transmit     ◄── accept, refuse, hang_up   ◄──

INVITE and UPDATE wait for the shell, which opens ports and knows whether there is room; everything else is
answered here. What is refused says why in a Warning, which tracing tools of session border controllers show.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fac_stream.errors import ProtocolError
from fac_stream.protocols.sdp import Description
from fac_stream.protocols.sip import Fields, Request, Response
from fac_stream.protocols.sip_fields import Call, call_of, values, via
from fac_stream.protocols.sip_transactions import (
    Key,
    Peer,
    Received,
    Transactions,
    Transmit,
    answer_to,
    key_of,
)
from fac_stream.protocols.siprec_metadata import Recording
from fac_stream.protocols.siprec_requests import (
    ACCEPT,
    ALLOW,
    BAD_REQUEST,
    FORBIDDEN,
    LOOP,
    NO_SUCH_CALL,
    OK,
    OUT_OF_ORDER,
    SDP,
    SUPPORTED,
    TERMINATED,
    TRYING,
    UNAVAILABLE,
    RefusedRequestError,
    Status,
    check,
    check_invitation,
    content,
    expiry,
    target,
    warning,
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A recording client wants to send a call: to be accepted or refused."""

    dialog: str
    call_id: str
    """SIP's, of the recording session."""
    host: str
    """Address that it came from."""
    source: str
    """URI of the recording client."""
    offer: Description
    recording: Recording


@dataclass(frozen=True, slots=True)
class Change:
    """Something about a call has changed: to be accepted or refused."""

    dialog: str
    offer: Description | None
    """None where the streams stay as they are."""
    recording: Recording
    """As it is now."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The dialog is over; nothing more is said about it."""

    dialog: str
    lost: str | None = None
    """Why, where the client did not say goodbye."""


Output = Transmit | Invitation | Change | Ended


@dataclass(slots=True)
class _Dialog:
    """RFC 3261, section 12."""

    name: str
    """Our tag."""
    last: Received
    """The INVITE or UPDATE that is, or was last, to be decided on."""
    invited: Key
    """Transaction of the last INVITE: what an ACK confirms."""
    recording: Recording
    news: Recording
    """What becomes of ``recording`` where the change is accepted."""
    peer: Peer
    sequence: int
    """The client's last CSeq."""
    target: str
    routes: tuple[str, ...]
    pending: bool = True
    """Whether ``last`` still waits for a decision."""
    established: bool = False
    answer: Description | None = None
    expires_s: int | None = None
    expires_at: float | None = None
    session_id: int = field(default_factory=lambda: secrets.randbits(31))

    def is_of(self, call: Call) -> bool:
        """Whether a request comes from the client of this dialog."""
        ours = self.last.call
        return (call.call_id, call.source.tag) == (ours.call_id, ours.source.tag)


class RecordingServer:
    """The dialogs of all recording clients; raises nothing, whatever is received.

    Args:
        contact: ``host:port`` at which peers reach this server.
        tag: makes names that nobody can guess.
    """

    def __init__(self, contact: str, tag: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._contact = contact
        self._tag = tag
        self._transactions = Transactions()
        self._dialogs: dict[str, _Dialog] = {}

    @property
    def peers(self) -> set[Peer]:
        """Those with whom a call goes on."""
        return {dialog.peer for dialog in self._dialogs.values()}

    def receive(self, message: Request | Response, peer: Peer, now: float) -> list[Output]:
        """Take a message that came from ``peer`` at ``now`` seconds of a steady clock."""
        if isinstance(message, Response):
            self._settle(message)
            return []
        try:
            call = call_of(message)
        except ProtocolError:
            return []  # without these fields nobody can be answered
        if message.method == "ACK":
            self._acknowledge(call)
            return []
        received = Received(message, call, peer, now)
        if self._transactions.known(received.key):
            return [*self._again(received)]
        if self._transactions.full:
            return [*self._stateless(received, UNAVAILABLE, ("Retry-After", "10"))]
        return self._begin(received)

    def forbid(self, message: Request | Response, peer: Peer, now: float) -> list[Transmit]:
        """Answer a peer that may not connect; nothing is remembered of it."""
        if isinstance(message, Response) or message.method == "ACK":
            return []
        try:
            call = call_of(message)
        except ProtocolError:
            return []
        received = Received(message, call, peer, now)
        return self._stateless(
            received, FORBIDDEN, warning("this address is not among those that may connect")
        )

    def accept(self, dialog: str, answer: Description | None, now: float) -> list[Transmit]:
        """Agree to an invitation or a change; ``answer`` is None where the change offered no streams."""
        state = self._dialogs.get(dialog)
        if state is None or not state.pending:
            return []
        if answer is not None:
            version = state.answer.version + 1 if state.answer else 1
            state.answer = replace(answer, session_id=state.session_id, version=version)
        request = state.last.request
        # A re-INVITE that offers nothing asks for our offer: RFC 3261, section 14.2.
        says = state.answer if answer is not None or request.method == "INVITE" else None
        state.pending, state.established, state.recording = False, True, state.news
        fields = [
            *(("Record-Route", value) for value in values(request.fields, "Record-Route")),
            ("Contact", f"<sip:{self._contact};transport={state.peer.transport}>;+sip.srs"),
            ALLOW,
            SUPPORTED,
            *_timer(state, now),
        ]
        if says is None:
            return self._answer(state.last, OK, *fields, tag=dialog)
        body = says.format().encode()
        return self._answer(state.last, OK, *fields, ("Content-Type", SDP), tag=dialog, body=body)

    def refuse(self, dialog: str, status: Status, why: str, *, retry_s: int | None = None) -> list[Transmit]:
        """Refuse an invitation, which ends the dialog, or a change, which leaves things as they were."""
        state = self._dialogs.get(dialog)
        if state is None or not state.pending:
            return []
        state.pending = False
        if not state.established:
            del self._dialogs[dialog]
        again = () if retry_s is None else (("Retry-After", str(retry_s)),)
        return self._answer(state.last, status, *again, warning(why), tag=dialog)

    def hang_up(self, dialog: str, why: str, now: float) -> list[Transmit]:
        """End a dialog from our side."""
        state = self._dialogs.get(dialog)
        if state is None:
            return []
        if not state.established:
            return self.refuse(dialog, UNAVAILABLE, why, retry_s=10)
        transmits = self.refuse(dialog, TERMINATED, why)
        del self._dialogs[dialog]
        return transmits + self._bye(state, why, now)

    def tick(self, now: float) -> list[Output]:
        """What is due by now: retransmissions, and dialogs that nobody keeps alive."""
        transmits, lost = self._transactions.tick(now)
        outputs: list[Output] = [*transmits]
        for state in list(self._dialogs.values()):
            if state.invited in lost:
                why = "the client never acknowledged that its call was accepted"
            elif state.expires_at is not None and state.expires_at <= now:
                why = f"the client did not refresh the session, which it said to last {state.expires_s} s"
            else:
                continue
            outputs += [*self.hang_up(state.name, why, now), Ended(state.name, why)]
        return outputs

    def _begin(self, received: Received) -> list[Output]:
        self._transactions.begin(received)
        try:
            return self._handle(received)
        except RefusedRequestError as error:
            return [*self._answer(received, error.status, *error.fields)]
        except ProtocolError as error:
            return [*self._answer(received, BAD_REQUEST, warning(str(error)))]

    def _handle(self, received: Received) -> list[Output]:
        request, call = received.request, received.call
        if request.method == "CANCEL":
            return self._cancel(received)
        check(request)
        if call.target.tag:
            return self._in_dialog(received)
        match request.method:
            case "INVITE":
                return [self._invite(received)]
            case "OPTIONS":
                return [*self._answer(received, OK, ALLOW, ACCEPT, SUPPORTED)]
            case _:
                raise RefusedRequestError(NO_SUCH_CALL, "this method needs a dialog")

    def _invite(self, received: Received) -> Invitation:
        request, call = received.request, received.call
        if any(state.is_of(call) for state in self._dialogs.values()):
            raise RefusedRequestError(LOOP, "this call came on another way already")
        offer, metadata = content(request)
        offer = check_invitation(request, offer, metadata)
        expires_s = expiry(request)
        name, recording = self._tag(), metadata or Recording()
        self._dialogs[name] = _Dialog(
            name=name,
            last=received,
            invited=received.key,
            recording=recording,
            news=recording,
            peer=received.peer,
            sequence=call.sequence,
            target=target(request, call),
            routes=tuple(values(request.fields, "Record-Route")),
            expires_s=expires_s,
        )
        return Invitation(name, call.call_id, received.peer.host, call.source.uri, offer, recording)

    def _in_dialog(self, received: Received) -> list[Output]:
        request, call = received.request, received.call
        state = self._dialogs.get(call.target.tag)
        if state is None or not state.is_of(call):
            raise RefusedRequestError(NO_SUCH_CALL, "no call goes on here under this Call-ID and these tags")
        if call.sequence <= state.sequence:
            raise RefusedRequestError(OUT_OF_ORDER, "CSeq is not above the last one")
        if request.method in ("INVITE", "UPDATE") and state.pending:
            again = ("Retry-After", "1")
            raise RefusedRequestError(OUT_OF_ORDER, "the last change is not decided yet", again)
        state.sequence, state.peer = call.sequence, received.peer
        match request.method:
            case "OPTIONS":
                return [*self._answer(received, OK, ALLOW, ACCEPT, SUPPORTED)]
            case "BYE":
                outputs = [*self.refuse(state.name, TERMINATED, "BYE came"), *self._answer(received, OK)]
                self._dialogs.pop(state.name, None)
                return [*outputs, Ended(state.name)]
            case _:
                return [self._change(state, received)]

    def _change(self, state: _Dialog, received: Received) -> Change:
        request = received.request
        offer, metadata = content(request)
        expires_s, contact = expiry(request), target(request, received.call)
        state.news = state.recording.updated(metadata) if metadata else state.recording
        state.last, state.pending, state.target, state.expires_s = received, True, contact, expires_s
        if request.method == "INVITE":
            state.invited = received.key
        return Change(state.name, offer, state.news)

    def _cancel(self, received: Received) -> list[Output]:
        cancelled = key_of(received.call, "INVITE")
        if not self._transactions.known(cancelled):
            raise RefusedRequestError(NO_SUCH_CALL, "nothing to cancel")
        outputs: list[Output] = [*self._answer(received, OK)]
        for state in list(self._dialogs.values()):
            if state.pending and state.last.key == cancelled:
                outputs += self.refuse(state.name, TERMINATED, "the client cancelled")
                if not state.established:
                    outputs.append(Ended(state.name))
        return outputs

    def _acknowledge(self, call: Call) -> None:
        self._transactions.confirm(key_of(call, "INVITE"))
        state = self._dialogs.get(call.target.tag)
        if state and state.is_of(call):
            self._transactions.confirm(state.invited)

    def _again(self, received: Received) -> list[Transmit]:
        transmits = self._transactions.again(received.key)
        if transmits or received.request.method != "INVITE":
            return transmits
        return self._stateless(received, TRYING)

    def _settle(self, answer: Response) -> None:
        """Take the answer to a request of ours."""
        try:
            hops = values(answer.fields, "Via")
            branch = via(hops[0]).branch if hops else None
        except ProtocolError:
            return
        if answer.status >= 200 and branch:
            self._transactions.answered(branch)

    def _bye(self, state: _Dialog, why: str, now: float) -> list[Transmit]:
        first = state.last.request.fields
        branch = f"z9hG4bK{self._tag()}"
        peer, ours = state.peer, self._contact
        target_field = first.first("To") or ""
        own = target_field if state.last.call.target.tag else f"{target_field};tag={state.name}"
        fields = [
            ("Via", f"SIP/2.0/{peer.transport.upper()} {ours};branch={branch};rport"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in state.routes),
            ("From", own),
            ("To", first.first("From") or ""),
            ("Call-ID", state.last.call.call_id),
            ("CSeq", "1 BYE"),
            warning(why),
        ]
        return self._transactions.request(branch, Request("BYE", state.target, Fields(fields)), peer, now)

    def _answer(
        self, received: Received, status: Status, *fields: tuple[str, str], tag: str = "", body: bytes = b""
    ) -> list[Transmit]:
        message = received.answer(status, tag or self._tag(), fields, body)
        return self._transactions.answer(received.key, message, received.at)

    def _stateless(self, received: Received, status: Status, *fields: tuple[str, str]) -> list[Transmit]:
        message = received.answer(status, self._tag(), fields)
        return [Transmit(message.encode(), answer_to(received.call, received.peer))]


def _timer(state: _Dialog, now: float) -> list[tuple[str, str]]:
    """Agree to the session timer that the client asked for: RFC 4028, sections 9 and 10."""
    if state.expires_s is None:
        state.expires_at = None
        return []
    state.expires_at = now + state.expires_s - min(32.0, state.expires_s / 3)
    return [("Session-Expires", f"{state.expires_s};refresher=uac"), ("Require", "timer")]
