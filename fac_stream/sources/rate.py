"""Does audio arrive as fast as its declared rate says?

8 kHz audio declared as 16 kHz is heard at double speed, and scored as such; it arrives at half speed. So does
audio of which half is lost on the way, but not in the same rhythm: what is not lost comes one packet's length
after its neighbour. Packets of a wrong rate keep a longer distance all the time. (Every second packet lost,
in step, looks the same; that is no audio to judge anybody by either.)

Only steady stretches of ``PERIOD_S`` are judged: a pause begins a new one. Recordings may be sent faster than
they are spoken, so too fast is at most worth a warning.
"""

import time
from collections.abc import Callable

from fac_stream.errors import ProtocolError

PERIOD_S = 10.0
PAUSE_S = 0.5
STANDARD = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Hertz; what a rate is mistaken for."""
TOLERANCE = 0.03
"""Of a standard rate; the nearest two are 8 % apart."""
SLOW, FAST = 0.75, 1.33
"""Of the declared rate; what lies between is a matter of clocks."""
EARLY = 1.2
"""Of its own declared length: what follows its predecessor sooner keeps the declared rhythm."""


class RateCheck:
    """Watches one stream."""

    def __init__(self, sample_rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._declared = sample_rate
        self._now = now
        self.restart()

    def restart(self) -> None:
        """Forget what arrived: its pace was not the sender's."""
        self._started_at = self._last_at = self._now()
        self._samples = self._messages = self._early = 0

    def add(self, samples: int) -> str | None:
        """Count a message that arrives now.

        Returns:
            A warning for the log, at most one a period.

        Raises:
            ProtocolError: the declared rate is wrong beyond doubt.
        """
        now = self._now()
        interval_s, self._last_at = now - self._last_at, now
        if interval_s > PAUSE_S:
            self.restart()
            return None
        self._samples += samples
        self._messages += 1
        self._early += interval_s < EARLY * samples / self._declared
        if now - self._started_at < PERIOD_S:
            return None
        measured, early = self._samples / (now - self._started_at), self._early / self._messages
        self.restart()
        return self._judge(measured, early)

    def _judge(self, measured: float, early: float) -> str | None:
        """``measured`` samples a second; ``early`` is the share of messages in the declared rhythm."""
        ratio = measured / self._declared
        fits = next((rate for rate in STANDARD if abs(measured / rate - 1.0) <= TOLERANCE), None)
        if SLOW <= ratio <= FAST or (ratio > FAST and not fits):
            return None
        arrives = (
            f"audio arrives at {fits or round(measured)} samples a second, sample_rate says {self._declared}"
        )
        if ratio > FAST:
            return f"{arrives}: is the rate right, or is it a recording?"
        # Where audio is lost at random, the share of neighbours that both arrive is the ratio itself.
        if fits and early < ratio / 4:
            raise ProtocolError(f"{arrives}: is the rate right?")
        return f"{arrives}: is the rate right, or is audio lost on the way?"
