"""A call whose audio others bring in, over one connection or, where the first was lost, several.

::

    connection ──Media──► LiveSource: place in the call, pieces, pace ──► FrameQueue ──► the call
                                                        ▲
    lost … a new connection ────────────────────────────┘  its samples begin where the clock stands: a gap

Each leg has a sample count of its own. Positions that a connection gives count from its own beginning.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterator

import structlog

from fac_stream.audio.frames import AudioFormat, Frame
from fac_stream.config import Ingest
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.sources.queue import FrameQueue
from fac_stream.sources.rate import RateCheck

log = structlog.get_logger(__name__)

PIECE_S = 0.5
"""However long a message is, no frame is longer: so the queue is bounded, and the loop not held up."""
MAX_LEGS = 16
TOGETHER_S = 0.25
"""Legs whose first packets arrive within this time began together."""


class LiveSource:
    """The call's end of ``queue``, which connections fill."""

    def __init__(
        self,
        kind: str,
        call_id: str,
        start: Start,
        limits: Ingest,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.call_id = call_id
        self.format = start.format
        self.metadata = dict(start.metadata)
        self.queue = FrameQueue(self.format, limits.queue_s)
        self.heard_at = now()
        """When audio arrived last, on the clock of ``now``; at first, when the call began."""
        self.on_hold = False
        """Whether the sender said that it pauses: no audio is to be expected."""
        self._limits = limits
        self._now = now
        self._began_at: float | None = None
        self._next: dict[str | None, int] = {}
        self._origin: dict[str | None, int] = {}  # where this connection's sample 0 lies
        self._gap_to = 0
        self._rates: dict[str | None, RateCheck] = {}
        self._warned = False

    @property
    def live(self) -> bool:
        """False for a recording that is sent faster than it can be spoken: its windows may be late."""
        return not self.queue.ahead

    def frames(self) -> AsyncGenerator[Frame]:
        """Frames until the call is over; see ``FrameQueue.frames``."""
        return self.queue.frames(self._limits.idle_timeout_s)

    def reconnect(self) -> None:
        """What comes now is of another connection: it begins where the clock stands."""
        self._origin.clear()
        self._rates.clear()
        elapsed = 0.0 if self._began_at is None else self._now() - self._began_at
        self._gap_to = max([round(elapsed * self.format.sample_rate), *self._next.values()])

    async def push(self, media: Media) -> None:
        """Take audio; waits where ``FrameQueue.put`` does.

        Raises:
            ProtocolError: the audio ends inside a sample, lies beyond the longest call, is of one leg too
                many, or cannot be of the rate that was declared.
        """
        if self._holds_on(media):
            return
        for frame in self._take(media):
            if self.queue.full:
                self._rates.clear()  # who has to wait does not show a pace of their own
            await self.queue.put(frame)
        self.heard_at = self._now()

    def _holds_on(self, media: Media) -> bool:
        """Whether it is a message without samples: the sender pauses on purpose, and is there."""
        self.on_hold = not media.data
        if self.on_hold:
            self.heard_at = self._now()
            self.queue.touch()
        return self.on_hold

    def push_nowait(self, media: Media) -> None:
        """Take audio, in place of the oldest where there is no room.

        Raises:
            ProtocolError: as ``push``.
        """
        if self._holds_on(media):
            return
        for frame in self._take(media):
            self.queue.put_nowait(frame)

    def _take(self, media: Media) -> Iterator[Frame]:
        """The new samples of a message, in pieces; what lies before the last sample is dropped."""
        leg = media.leg
        width = self.format.frame_width if leg is None else self.format.encoding.width
        count, rest = divmod(len(media.data), width)
        if rest:
            raise ProtocolError(f"audio of {len(media.data)} bytes ends inside a sample of {width} bytes")
        self.heard_at = now = self._now()
        if self._began_at is None:
            self._began_at = now
        start = self._place(media, now)
        if start + count > self._limits.max_duration_s * self.format.sample_rate + self._slack:
            raise ProtocolError("the audio's position lies beyond ingest.max_duration_s")
        if not media.concealed:
            self._check_rate(leg, count)
        skip = min(count, max(0, self._next.get(leg, 0) - start))
        for first in range(skip, count, step := max(1, int(PIECE_S * self.format.sample_rate))):
            piece = media.data[first * width : (first + step) * width]
            self._next[leg] = start + first + len(piece) // width
            yield Frame(start + first, piece, now, leg, media.concealed)

    @property
    def _slack(self) -> float:
        """So that a call that lasts too long ends as one, not as a broken protocol."""
        return 60.0 * self.format.sample_rate

    def _place(self, media: Media, now: float) -> int:
        """Index in the call of a message's first sample."""
        leg = media.leg
        if leg not in self._origin:
            if len(self._origin) >= MAX_LEGS:
                raise ProtocolError(f"a call has at most {MAX_LEGS} legs")
            self._origin[leg] = self._origin_of(leg, now)
            if media.at is None:
                self._next[leg] = self._origin[leg]
        if media.at is None:
            return self._next[leg]
        return self._origin[leg] + media.at

    def _origin_of(self, leg: str | None, now: float) -> int:
        """Where a stream begins that is heard for the first time on this connection.

        One that joins later begins where the clock stands, unless the others are not as far: then they come
        faster than they are spoken.
        """
        if self._gap_to:
            return max(self._gap_to, self._next.get(leg, 0))
        others = max(self._next.values(), default=0)
        elapsed = 0.0 if self._began_at is None else now - self._began_at
        if elapsed < TOGETHER_S:
            return 0
        return min(others, round(elapsed * self.format.sample_rate))

    def _check_rate(self, leg: str | None, count: int) -> None:
        check = self._rates.get(leg)
        if check is None:
            check = self._rates[leg] = RateCheck(self.format.sample_rate, self._now)
        warning = check.add(count)
        if warning and not self._warned:
            self._warned = True
            log.warning("suspicious rate", call_id=self.call_id, detail=warning)


def same_stream(one: AudioFormat, other: AudioFormat) -> bool:
    """Whether audio of one format can continue a call of the other."""
    return (one.sample_rate, one.encoding, one.legs) == (other.sample_rate, other.encoding, other.legs)
