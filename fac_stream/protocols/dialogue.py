"""What every telephony protocol on a WebSocket has in common, without I/O.

A platform's parser takes what its socket received and answers with messages. One shell
(``server/telephony.py``) carries them out, whatever the protocol::

    socket ──text, bytes, close──► Dialogue ──Start, Media, Finish──► the call
           ◄──── Send, Hangup ────          ◄── admitted, refused, event, ended
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from fac_stream.audio.frames import AudioFormat
from fac_stream.events import AnyEvent, EndReason


@dataclass(frozen=True, slots=True)
class Start:
    """A call begins; comes once, before any ``Media``."""

    format: AudioFormat
    """Rate, encoding and legs."""
    call_id: str | None = None
    """The platform's own, or None where it gives none."""
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    """What the platform says of the call: numbers, its own ids, custom parameters; no secrets."""
    token: str | None = None
    """What the platform passed on to prove that it may bring calls."""


@dataclass(frozen=True, slots=True)
class Media:
    """Audio as encoded by ``Start.format``, whole samples.

    Without any, it says that the sender pauses on purpose: such a call is neither silent nor idle.
    """

    data: bytes
    leg: str | None = None
    """Whose it is; None where the channels of all legs are interleaved."""
    at: int | None = None
    """Its first sample since the leg's first on this connection; None for directly after the last one."""
    concealed: bool = False
    """Made up in place of what was lost."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The platform says that the call is complete."""


@dataclass(frozen=True, slots=True)
class Send:
    """To be sent as it is: text as a text message, bytes as a binary one."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """The socket is to be closed."""

    code: int = 1000
    """RFC 6455, section 7.4."""
    reason: str = ""


Reply = Send | Hangup
Message = Start | Media | Finish | Send | Hangup


class Refusal(StrEnum):
    """Why a call is not taken, or not any longer."""

    UNAUTHORISED = "unauthorised"
    FULL = "full"
    IN_USE = "call_id_in_use"
    PROTOCOL_ERROR = "protocol_error"
    IDLE = "idle"
    TOO_LONG = "too_long"
    STOPPING = "stopping"
    FAILED = "internal_error"


CLOSE_CODES = {
    Refusal.UNAUTHORISED: 4401,
    Refusal.FULL: 1013,
    Refusal.IN_USE: 4409,
    Refusal.PROTOCOL_ERROR: 4400,
    Refusal.IDLE: 4408,
    Refusal.TOO_LONG: 4413,
    Refusal.STOPPING: 1001,
    Refusal.FAILED: 1011,
}
"""For protocols that have no words of their own; 4000 and up are ours."""


def hangup(refusal: Refusal, reason: str) -> Hangup:
    """The close that says no where a protocol has no words for it."""
    return Hangup(CLOSE_CODES[refusal], reason)


class Dialogue(Protocol):
    """One connection's wire format.

    What is received may raise ``ProtocolError`` and nothing else; only ``refused`` is called after that.
    """

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take a text message."""

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take a binary message."""

    def receive_close(self) -> Sequence[Message]:
        """The peer closed the socket properly: ``Finish`` where that completes a call, else nothing."""

    def admitted(self, call_id: str) -> Sequence[Reply]:
        """The call that ``Start`` asked for goes on under this id."""

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """The call is not taken, or cut off; the last reply is a ``Hangup``."""

    def event(self, event: AnyEvent) -> Sequence[Reply]:
        """Something happened in this call: what the platform wants to hear of it."""

    def ended(self, reason: EndReason) -> Sequence[Reply]:
        """The call completed; the last reply is a ``Hangup``."""


class Mute:
    """The half of a ``Dialogue`` that never says anything: the close is all that its platform may hear."""

    def admitted(self, call_id: str) -> Sequence[Reply]:  # noqa: ARG002
        """Say nothing."""
        return []

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """Close: the call itself goes on without us."""
        return [hangup(refusal, reason)]

    def event(self, event: AnyEvent) -> Sequence[Reply]:  # noqa: ARG002
        """Say nothing."""
        return []

    def ended(self, reason: EndReason) -> Sequence[Reply]:
        """Close."""
        return [Hangup(reason=reason.value)]
