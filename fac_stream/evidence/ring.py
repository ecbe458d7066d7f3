"""The last seconds of one leg: the very samples that the scorer got, each held once.

Windows overlap; of each only the samples are held that its predecessor did not have::

    window 0  |===============|
    window 1      |-----------|===|            held: ===
    window 2          |-----------|===|
                                       gap  |===============|  window 3: a new piece

That a window does repeat its predecessor is not taken for granted but compared. So what comes out is what
went in, bit for bit. Memory: 64 KB a second, for ``seconds`` and 4 s more: 0.8 MB a leg at 8 s.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fac_stream.audio.frames import SAMPLE_RATE, Samples, Window
from fac_stream.events import WindowScored


class Heard(NamedTuple):
    """One window of the ring."""

    piece: int
    """Counts the pieces of the leg: windows of one have no gap between them."""
    start: int
    """Index at 16 kHz since the start of the call."""
    span: int
    fresh: Samples
    """Its last samples, those that the window before it in the same piece did not have."""
    concealed: float
    run: int
    event: WindowScored
    """What was said of it."""

    @property
    def end(self) -> int:
        """Behind its last sample."""
        return self.start + self.span

    @property
    def fresh_from(self) -> int:
        """Where ``fresh`` begins."""
        return self.end - len(self.fresh)


class Ring:
    """The windows of one leg, in order; forgets what ends more than ``seconds`` before the latest."""

    def __init__(self, seconds: float) -> None:
        self._keep = round(seconds * SAMPLE_RATE)
        self._heard: deque[Heard] = deque()
        self._previous: Window | None = None
        self._piece = 0

    def add(self, window: Window, run: int, event: WindowScored) -> Heard:
        """Take the next window, with how many others it was scored, and what was said of it."""
        fresh = self._fresh(window)
        heard = Heard(self._piece, window.start_sample, window.span, fresh, window.concealed, run, event)
        self._heard.append(heard)
        while self._heard[0].end <= heard.end - self._keep:
            self._heard.popleft()
        return heard

    def heard(self) -> list[Heard]:
        """What it holds now."""
        return list(self._heard)

    def _fresh(self, window: Window) -> Samples:
        """A copy: a window's samples may be a view of more."""
        previous, samples = self._previous, window.samples
        is_whole = window.span == len(samples)
        self._previous = window if is_whole else None
        if previous is not None and is_whole:
            shift = window.start_sample - previous.start_sample
            if 0 < shift <= window.span and np.array_equal(previous.samples[shift:], samples[:-shift]):
                return samples[-shift:].copy()
        self._piece += 1
        return samples[: window.span].copy()


class Stretch(NamedTuple):
    """Samples without a gap, and the windows that lie in them."""

    start: int
    samples: Samples
    windows: list[Heard]


def stretches(heard: Sequence[Heard], first: int, last: int) -> list[Stretch]:
    """The windows that lie between two samples of the call, with their audio and no more.

    Args:
        heard: windows of one leg, in order.
        first: no window begins before this sample.
        last: none ends behind this one.
    """
    found: list[Stretch] = []
    for piece in dict.fromkeys(window.piece for window in heard):
        held = [window for window in heard if window.piece == piece]
        # The oldest windows of a ring lack their beginning: it left with those before them.
        begin = held[0].fresh_from
        inside = [it for it in held if it.start >= max(first, begin) and it.end <= last]
        if inside:
            start, end = inside[0].start, inside[-1].end
            samples = np.concatenate([window.fresh for window in held])
            found.append(Stretch(start, samples[start - begin : end - begin], inside))
    return found
