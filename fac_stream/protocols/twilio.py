"""Twilio Media Streams and its family: JSON messages with Base64 audio, one track a message.

::

    ──connected──►  ──start──► Start  ──media──► Media, Media, …  ──stop──► Finish

Nothing is ever sent back: Twilio ends a one-way stream that is talked to (its error 31924). Names, formats
and sources stand in ``twilio_family.py``.

Telnyx does not promise the order of media, and a congested sender leaves some out. ``chunk`` counts the
messages of a track, ``timestamp`` says in milliseconds where their audio lies: the one puts them in order,
the other shows what is missing. Timestamps may be a wall clock's (Plivo) and then jitter and drift: they are
believed when chunks are missing, or when they are ahead by more than jitter.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Finish, Media, Message, Mute
from fac_stream.protocols.objects import member, parse_object, whole
from fac_stream.protocols.twilio_family import Reader, begin, leg_of

MAX_HELD = 8
"""Messages of a track that wait for one before them."""
MAX_LATE = 50
"""Messages in a row that come too late; at 20 ms each a second."""
MAX_IGNORED = 1000
"""Messages in a row that bring no audio."""
JITTER_MS = 100.0
"""By how much timestamps may run ahead of audio whose chunks are all there."""
_BELIEF = 3
"""Gaps in a row, no chunk missing, after which timestamps are not believed: they count no milliseconds."""
_DRIFT = 1 / 64
"""Share of a difference between clock and audio that each message takes for drift."""
_TELNYX_TOKEN = "x-telnyx-streaming-auth-token"  # noqa: S105 - a field's name


class TwilioStream(Mute):
    """One connection; a ``Dialogue``.

    Args:
        token: what the handshake's headers brought to prove the call; a token inside the stream goes before.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        self._tracks: dict[str, Track] = {}
        self._ignored = 0
        self._started = False
        self._finished = False

    def receive_text(self, text: str) -> Sequence[Message]:
        """Take one message; what comes after the end is of no interest.

        Raises:
            ProtocolError: it is none of the family's, out of place, or holds unusable audio.
        """
        message = parse_object(text)
        wrapped = "event" not in message and isinstance(message.get("rawEvent"), dict)
        if wrapped:
            message = message["rawEvent"]
        if self._finished:
            return []
        match message.get("event"):
            case "media":
                self._ignored = 0
                return self._media(message)
            case "start":
                return [self._start(message, wrapped=wrapped)]
            case "stop" if self._started:
                return self.receive_close()
            case str(event):
                self._ignore(event, message)
                return []
        raise ProtocolError("a message needs an event")

    def receive_bytes(self, data: bytes) -> Sequence[Message]:
        """Refuse it.

        Raises:
            ProtocolError: always.
        """
        raise ProtocolError(f"this platform sends text only, not a binary message of {len(data)} bytes")

    def receive_close(self) -> Sequence[Message]:
        """The audio that still waits for earlier one, and the end; Plivo has no other way of saying it."""
        if not self._started or self._finished:
            return []
        self._finished = True
        return [*(media for track in self._tracks.values() for media in track.flush()), Finish()]

    def _start(self, message: dict[str, Any], *, wrapped: bool) -> Message:
        if self._started:
            raise ProtocolError("a second start came on the same connection")
        start, reader = begin(message, wrapped=wrapped)
        rate, width = start.format.sample_rate, start.format.encoding.width
        self._tracks = {leg: Track(leg, rate, width, reader()) for leg in ("caller", "agent")}
        self._started = True
        if start.token is None and self._token is not None:
            start = replace(start, token=self._token)
        return start

    def _media(self, message: dict[str, Any]) -> Sequence[Media]:
        if not self._started:
            raise ProtocolError("audio came before the start, which says how to read it")
        media = member(message, "media")
        track = self._tracks[leg_of(media.get("track"))]
        return track.push(
            _number(media, "chunk"), _number(media, "timestamp"), _payload(media.get("payload"))
        )

    def _ignore(self, event: str, message: dict[str, Any]) -> None:
        if event == "connected" and isinstance(message.get("connected"), dict):
            token = message["connected"].get(_TELNYX_TOKEN)
            self._token = token if isinstance(token, str) else self._token
        self._ignored += 1
        if self._ignored > MAX_IGNORED:
            raise ProtocolError(f"more than {MAX_IGNORED} messages came without audio")


class Track:
    """One party's audio: in order, each piece at its place.

    Args:
        leg: whose it is.
        rate: Hertz.
        width: bytes a sample.
        reader: payloads to samples.
    """

    def __init__(self, leg: str, rate: int, width: int, reader: Reader) -> None:
        self._leg = leg
        self._rate = rate
        self._width = width
        self._reader = reader
        self._held: dict[int, tuple[int | None, bytes]] = {}
        self._due: int | None = None  # the next chunk; None before the first
        self._late = 0
        self._at = 0  # the next sample
        self._zero: float | None = None  # the timestamp of sample 0; None before the first
        self._gaps = 0  # in a row

    def push(self, chunk: int | None, timestamp: int | None, data: bytes) -> list[Media]:
        """Take a message's audio; return what is now in order.

        Without a chunk number it is taken as it comes.

        Raises:
            ProtocolError: the audio cannot be read, or chunks keep coming late.
        """
        if chunk is None:
            return self._place(timestamp, data, lost=False)
        if chunk in self._held or (self._due is not None and chunk < self._due):
            self._late += 1
            if self._late > MAX_LATE:
                raise ProtocolError(
                    f"{MAX_LATE} messages in a row came too late or twice: chunks must count up"
                )
            return []
        self._late = 0
        self._held[chunk] = timestamp, data
        return self._release(MAX_HELD)

    def flush(self) -> list[Media]:
        """Everything that still waits."""
        return self._release(0)

    def _release(self, most: int) -> list[Media]:
        media: list[Media] = []
        while self._held:
            chunk = min(self._held)
            in_order = chunk == self._due if self._due is not None else chunk <= 1
            if not in_order and len(self._held) <= most:
                break
            timestamp, data = self._held.pop(chunk)
            media += self._place(timestamp, data, lost=self._due is not None and not in_order)
            self._due = chunk + 1
        return media

    def _place(self, timestamp: int | None, data: bytes, *, lost: bool) -> list[Media]:
        samples = self._reader(data) if data else b""
        count = len(samples) // self._width
        if not count:
            return []
        start = self._at + self._gap(timestamp, count, lost=lost)
        self._at = start + count
        return [Media(samples, self._leg, start)]

    def _gap(self, timestamp: int | None, count: int, *, lost: bool) -> int:
        """Samples that are missing before ``count`` ones with this timestamp."""
        if timestamp is None or self._gaps >= _BELIEF:
            return 0
        if self._zero is None:
            self._zero = timestamp
        jitter = count * 500 / self._rate if lost else JITTER_MS
        ahead = timestamp - self._zero - self._at * 1000 / self._rate
        if ahead <= jitter:
            self._zero += ahead * _DRIFT
            self._gaps = 0
            return 0
        self._gaps += not lost
        return round(ahead * self._rate / 1000)


def _number(media: dict[str, Any], name: str) -> int | None:
    value = media.get(name)
    return None if value is None else whole(value, f"media.{name}")


def _payload(value: object) -> bytes:
    if not isinstance(value, str):
        raise ProtocolError("media.payload must be a string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("media.payload must be Base64") from None
