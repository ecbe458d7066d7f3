"""Audio that comes without timestamps, as over TCP: whole samples out of any cut, and gaps where it paused.

Who suppresses silence, holds a call or pauses a fork just sends nothing; what comes afterwards must not be
joined to what came before. A network that stalls sends nothing either, but then catches up::

    pause:  ██ ██ ██ ██ · · · · · · · ██ ██ ██ ██      keeps real time afterwards: a gap
    stall:  ██ ██ ██ ██ · · · · · · · ████████████     all at once afterwards: nothing is missing

So what follows a silence is held until enough of it shows which of the two it was. Who is ahead of the clock,
as the sender of a recording is, does not pause: it has only become slower.
"""

import time
from collections.abc import Callable

from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Media

PAUSE_S = 0.5
"""Missing audio, seconds, from which on there is a gap; less is jitter."""
HOLD_S = 0.1
"""Audio after a silence, seconds, that tells a pause from a stall."""


class UntimedAudio:
    """One stream of PCM or G.711 whose bytes follow each other.

    Args:
        sample_rate: Hertz.
        frame_width: bytes of one sample of all channels.
        now: the clock, seconds.
    """

    def __init__(self, sample_rate: int, frame_width: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = sample_rate
        self._width = frame_width
        self._now = now
        self._rest = b""
        self._position = 0
        self._last_at: float | None = None
        self._began_at: float | None = None
        self._held: list[bytes] = []
        self._held_since = 0.0
        self._missing_s = 0.0

    def push(self, data: bytes) -> list[Media]:
        """Take bytes as they arrive; return what can be passed on, with ``at`` behind a gap."""
        now = self._now()
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % self._width
        data, self._rest = data[:whole], data[whole:]
        if not data:
            return []
        behind_s = self._behind_s(now)
        silent_s = 0.0 if self._last_at is None else now - self._last_at
        self._last_at = now
        missing_s = silent_s - self._seconds(data)
        media: list[Media] = []
        if missing_s > PAUSE_S and behind_s - self._seconds(data) > PAUSE_S:
            # Silence after a silence: whatever is held caught up with nothing.
            media = self._release(gap=True)
            self._held, self._held_since, self._missing_s = [data], now, missing_s
        elif self._held:
            self._held.append(data)
            caught_up_s = self._seconds(*self._held[1:])
            if caught_up_s >= HOLD_S:
                media = self._release(gap=now - self._held_since >= caught_up_s / 2)
        else:
            media = [self._place(data)]
        return media

    def end(self) -> list[Media]:
        """The stream is complete: the rest of it.

        Raises:
            ProtocolError: a part of a sample is left over.
        """
        if self._rest:
            raise ProtocolError(
                f"the audio ends inside a sample: {len(self._rest)} of {self._width} bytes; "
                "check its encoding and number of channels"
            )
        return self._release(gap=True)

    def _seconds(self, *data: bytes) -> float:
        return sum(map(len, data)) / self._width / self._rate

    def _behind_s(self, now: float) -> float:
        """How much longer the stream has lasted than its audio and its gaps."""
        if self._began_at is None:
            self._began_at = now
        return now - self._began_at - self._position / self._rate - self._seconds(*self._held)

    def _release(self, *, gap: bool) -> list[Media]:
        if not self._held:
            return []
        data, self._held = b"".join(self._held), []
        return [self._place(data, self._missing_s if gap else None)]

    def _place(self, data: bytes, missing_s: float | None = None) -> Media:
        at = None
        if missing_s is not None:
            at = self._position = self._position + round(missing_s * self._rate)
        self._position += len(data) // self._width
        return Media(data, at=at)
