"""Any rate to 16 kHz, without keeping audio waiting inside a filter.

A streaming resampler filters by FFT and answers in whole blocks: soxr's holds back up to 116 ms of an 8 kHz
stream. Here every push is resampled anew, together with as much of its past as the filter looks back on, and
only the end that the filter cannot settle yet is held back: half its length, 13 ms at 8 kHz. The samples are
those of resampling the whole signal in one piece, to the rounding of float32. Made for a push every hop.

::

    source   ...........|=== held ===|------- pushed -------|
                        ^ multiple of the period            ^
    16 kHz                  |........ given out ........|
                                                         <--> margin
"""

from math import gcd

import numpy as np
import soxr

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.audio.media import MAX_RATE, MIN_RATE
from fac_stream.errors import AudioError

QUALITY = "HQ"
"""Flat to 0.91 of the band, 20 bits: telephone speech keeps all it has up to 3.65 kHz."""
HALF_FILTER = 104
"""Samples of the slower rate; measured: beyond this distance no input changes an output of ``QUALITY``."""


class Resampler:
    """One stream without gaps. After ``flush`` it starts anew, as if freshly made."""

    def __init__(self, source_rate: int, channels: int) -> None:
        """For ``[n, channels]`` at ``source_rate`` Hertz.

        Raises:
            AudioError: the rate is out of bounds.
        """
        if not MIN_RATE <= source_rate <= MAX_RATE:
            raise AudioError(f"{source_rate} Hz cannot be resampled: use {MIN_RATE} to {MAX_RATE} Hz")
        self._rate = source_rate
        # ``_in`` source samples span exactly ``_out`` samples at 16 kHz.
        self._in = source_rate // gcd(source_rate, SAMPLE_RATE)
        self._out = SAMPLE_RATE // gcd(source_rate, SAMPLE_RATE)
        self._margin = -(-HALF_FILTER * max(source_rate, SAMPLE_RATE) // SAMPLE_RATE)
        self._channels = channels
        self._restart()

    def _restart(self) -> None:
        self._held: Samples = np.empty((0, self._channels), np.float32)
        self._held_from = 0  # source sample; a multiple of the period
        self._given = 0  # samples at 16 kHz

    def needed(self, outputs: int) -> int:
        """Source samples since the start that it takes until ``outputs`` samples are settled."""
        if self._rate == SAMPLE_RATE:
            return outputs
        return -(-outputs * self._in // self._out) + self._margin

    def push(self, samples: Samples) -> Samples:
        """Take ``[n, channels]``, give out what is settled: ``[m, channels]`` at 16 kHz."""
        if self._rate == SAMPLE_RATE:
            return samples
        self._held = np.concatenate((self._held, samples))
        settled = self._held_from + len(self._held) - self._margin
        return self._give(settled * self._out // self._in)

    def flush(self) -> Samples:
        """Give out the rest, as if silence followed: ``[m, channels]`` at 16 kHz."""
        rest = self._give(None)
        self._restart()
        return rest

    def _give(self, upto: int | None) -> Samples:
        """Samples from the last one given out to ``upto``, both at 16 kHz; None is the end."""
        if not len(self._held) or (upto is not None and upto <= self._given):
            return np.empty((0, self._channels), np.float32)
        origin = self._held_from // self._in * self._out
        resampled: Samples = soxr.resample(self._held, self._rate, SAMPLE_RATE, QUALITY)
        fresh = resampled[self._given - origin : None if upto is None else upto - origin]
        self._given += len(fresh)
        self._forget()
        return fresh

    def _forget(self) -> None:
        """Drop what no later sample looks back on, in whole periods: soxr knows no fractional start."""
        oldest = self._given * self._in // self._out - self._margin
        start = max(oldest // self._in * self._in, self._held_from)
        self._held = self._held[start - self._held_from :].copy()
        self._held_from = start
