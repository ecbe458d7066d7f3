"""Genesys AudioHook, version 2, the server's side: JSON messages, and binary audio between them.

::

    client ──open──► Start            opened ──►
           ──audio─► Media, Media, …
           ──ping──►                  pong ──►
           ──paused, audio stops … resumed, discarded──►  a gap in the positions of Media
           ◄──event, event, … (scores)
           ──close─► Finish           (the rest is scored) event, closed ──►

    refused, or cut off:  disconnect ──►      daemon stops:  reconnect ──►

Both sides number their messages from 1 by steps of one (``seq``), and say what they have seen of the other's
(``serverseq``, ``clientseq``). Time is a count of samples: those that came, and those that the client says it
left out.

Source: https://developer.genesys.cloud/devapps/audiohook/protocol-reference and the reference implementation,
https://github.com/purecloudlabs/audiohook-reference-implementation.
"""

import json
from collections.abc import Callable, Sequence
from enum import Enum, auto
from http import HTTPStatus

from pydantic import JsonValue

from fac_stream.audio.frames import AudioFormat
from fac_stream.errors import ProtocolError
from fac_stream.events import AnyEvent, EndReason
from fac_stream.protocols.audiohook_messages import (
    NULL_UUID,
    RATE,
    ClientError,
    ClientMessage,
    Close,
    Gap,
    Offer,
    Open,
    Update,
    fit,
    read,
)
from fac_stream.protocols.audiohook_scores import Entity, Scores
from fac_stream.protocols.dialogue import (
    Finish,
    Hangup,
    Media,
    Message,
    Refusal,
    Reply,
    Send,
    Start,
    hangup,
)


class _State(Enum):
    CONNECTED = auto()  # before open
    STREAMING = auto()
    PAUSED = auto()
    CLOSED = auto()


class AudioHook:
    """One session.

    Args:
        scores_every_s: seconds of audio from one event with scores to the next.
        session_id: what the handshake's ``Audiohook-Session-Id`` said; None where it was absent.
        organization_id: likewise.
        on_error: called with code and text of an error that the client reports.
    """

    def __init__(
        self,
        scores_every_s: float = 5.0,
        *,
        session_id: str | None = None,
        organization_id: str | None = None,
        on_error: Callable[[int, str], None] = lambda _code, _text: None,
    ) -> None:
        self._id = session_id
        self._organization_id = organization_id
        self._report = on_error
        self._scores = Scores(scores_every_s)
        self._state = _State.CONNECTED
        self._seq = 0
        self._clientseq = 0
        self._offer: Offer | None = None
        self._format: AudioFormat | None = None
        self._open: Open | None = None
        self._origin = 0  # the client's sample that is our sample 0
        self._next = 0  # samples since then
        self._handlers: dict[str, Callable[[ClientMessage], Sequence[Message]]] = {
            "open": self._on_open,
            "close": self._on_close,
            "ping": self._on_ping,
            "paused": self._on_paused,
            "resumed": self._on_resumed,
            "discarded": self._on_discarded,
            "update": self._on_update,
            "error": self._on_error,
        }

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take one message of the client; a type that is not known is counted and otherwise ignored.

        Raises:
            ProtocolError: it breaks the format, its numbers do not follow, or it may not come now.
        """
        message = read(text)
        self._check_order(message)
        handler = self._handlers.get(message.type)
        return handler(message) if handler else []

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Take whole samples of all channels.

        Raises:
            ProtocolError: no audio may come now, or it ends inside a sample.
        """
        if self._state is not _State.STREAMING or self._open is None or self._format is None:
            raise ProtocolError(f"409: audio came while the session was {self._state.name.lower()}")
        count, rest = divmod(len(data), self._format.frame_width)
        if rest:
            raise ProtocolError(
                f"400: audio of {len(data)} bytes ends inside a sample of {self._format.frame_width} bytes"
            )
        at, self._next = self._next, self._next + count
        return [] if self._open.is_probe or not count else [Media(data, at=at)]

    def receive_close(self) -> Sequence[Message]:
        """A socket that closes without ``close`` completes nothing: the session may be continued."""
        return []

    def admitted(self, call_id: str) -> Sequence[Reply]:  # noqa: ARG002 - Genesys has ids of its own
        """The session is open."""
        return [self._opened()]

    def refused(self, refusal: Refusal, reason: str) -> Sequence[Reply]:
        """``disconnect``; ``reconnect`` where only this daemon is going."""
        match refusal:
            case Refusal.STOPPING:
                farewell = self._send("reconnect", {"info": reason})
            case Refusal.UNAUTHORISED:
                farewell = self._send("disconnect", {"reason": "unauthorized", "info": reason})
            case Refusal.TOO_LONG:
                farewell = self._send("disconnect", {"reason": "completed", "info": reason})
            case _:
                farewell = self._send("disconnect", {"reason": "error", "info": reason})
        self._state = _State.CLOSED
        return [farewell, hangup(refusal, reason)]

    def event(self, event: AnyEvent) -> Sequence[Reply]:
        """Scores and decisions, not too often."""
        return self._events(self._scores.add(event))

    def ended(self, reason: EndReason) -> Sequence[Reply]:
        """The last scores, and the answer to ``close``."""
        last = self._events(self._scores.rest())
        if self._state is _State.CLOSED:
            return [*last, self._send("closed", {}), Hangup()]
        self._state = _State.CLOSED
        return [*last, self._send("disconnect", {"reason": "completed", "info": reason.value}), Hangup()]

    def _check_order(self, message: ClientMessage) -> None:
        if message.seq != self._clientseq + 1:
            raise ProtocolError(f"400: seq must be {self._clientseq + 1}, not {message.seq}")
        if message.serverseq > self._seq:
            raise ProtocolError(f"400: serverseq is {message.serverseq}, but only {self._seq} were sent")
        if self._id is not None and message.id.lower() != self._id.lower():
            raise ProtocolError("400: the id must be that of the session")
        if self._state is _State.CLOSED:
            raise ProtocolError(f"409: {message.type} came after the end of the session")
        self._id = message.id
        self._clientseq = message.seq

    def _on_open(self, message: ClientMessage) -> Sequence[Message]:
        if self._state is not _State.CONNECTED:
            raise ProtocolError("409: open came twice")
        said = fit(Open, message.parameters, "open")
        if self._organization_id and said.organization_id.lower() != self._organization_id.lower():
            raise ProtocolError("400: organizationId is not that of the Audiohook-Organization-Id header")
        self._offer, self._format = _choose(said.media)
        self._open, self._state = said, _State.STREAMING
        self._origin = round(message.position * RATE)
        if said.is_probe:
            return [self._opened()]
        token = said.custom_config.get("token")
        # A session that goes on with another belongs to the call which that one began.
        call_id = said.continued_sessions[0].id if said.continued_sessions else message.id
        metadata: dict[str, JsonValue] = {"session_id": message.id, **said.metadata}
        return [Start(self._format, call_id, metadata, token if isinstance(token, str) else None)]

    def _on_close(self, message: ClientMessage) -> Sequence[Message]:
        close = fit(Close, message.parameters, "close")
        self._state = _State.CLOSED
        if self._open is None or self._open.is_probe:
            return [self._send("closed", {}), Hangup()]
        if close.reason == "reconnect":
            # The call is not complete: it waits for its next session once the client has closed the socket.
            return [self._send("closed", {})]
        return [Finish()]

    def _on_ping(self, _: ClientMessage) -> Sequence[Message]:
        return [self._send("pong", {}), *self._sign_of_life()]

    def _on_paused(self, message: ClientMessage) -> Sequence[Message]:
        self._check_open(message)
        self._state = _State.PAUSED
        return self._sign_of_life()

    def _on_resumed(self, message: ClientMessage) -> Sequence[Message]:
        self._check_open(message)
        gap = fit(Gap, message.parameters, "resumed")
        # While nothing is paused it only repeats that.
        if self._state is _State.PAUSED:
            self._state = _State.STREAMING
            self._skip(gap)
        return []

    def _on_discarded(self, message: ClientMessage) -> Sequence[Message]:
        self._check_open(message)
        self._skip(fit(Gap, message.parameters, "discarded"))
        return []

    def _on_update(self, message: ClientMessage) -> Sequence[Message]:
        self._check_open(message)
        fit(Update, message.parameters, "update")
        return [self._send("updated", {})]

    def _on_error(self, message: ClientMessage) -> Sequence[Message]:
        error = fit(ClientError, message.parameters, "error")
        if error.code == HTTPStatus.TOO_MANY_REQUESTS:
            self._scores.wait(error.retry_after)
        self._report(error.code, error.message[:1024])
        return []

    def _check_open(self, message: ClientMessage) -> None:
        if self._state is _State.CONNECTED:
            raise ProtocolError(f"409: {message.type} came before open")

    def _opened(self) -> Send:
        parameters: dict[str, JsonValue] = {"startPaused": False, "media": []}
        if self._offer:
            parameters["media"] = [self._offer.model_dump(mode="json", by_alias=True)]
        if self._open and self._open.supported_languages:
            parameters["supportedLanguages"] = []  # nothing is transcribed here
        return self._send("opened", parameters)

    def _sign_of_life(self) -> list[Message]:
        """A pause may last longer than a call may be idle; it has no audio, but somebody is there."""
        if self._state is _State.PAUSED and self._open is not None and not self._open.is_probe:
            return [Media(b"", at=self._next)]
        return []

    def _skip(self, gap: Gap) -> None:
        """What was left out counts as time; it never goes back."""
        self._next = max(self._next, round((gap.start + gap.discarded) * RATE) - self._origin)

    def _events(self, entities: Sequence[Entity]) -> list[Reply]:
        return [self._send("event", {"entities": list(entities)})] if entities else []

    def _send(self, kind: str, parameters: dict[str, JsonValue]) -> Send:
        self._seq += 1
        message = {
            "version": "2",
            "id": self._id or NULL_UUID,
            "type": kind,
            "seq": self._seq,
            "clientseq": self._clientseq,
            "parameters": parameters,
        }
        return Send(json.dumps(message, separators=(",", ":")))


def _choose(offers: Sequence[Offer]) -> tuple[Offer, AudioFormat]:
    """Both parties on channels of their own where possible, else the external one; the first such offer."""
    readable = [(offer, audio) for offer in offers if (audio := offer.audio)]
    if not readable:
        raise ProtocolError("400: media offers nothing that can be read: PCMU or L16 at 8000 Hz")
    return max(readable, key=lambda choice: (len(choice[1].legs), "caller" in choice[1].legs))
