"""What is played where packets are missing, in the manner of ITU-T G.711, Appendix I.

The last pitch period is repeated, at full level for 10 ms, then falling to silence within 50 ms more. Unlike
there, what was played before is not changed any more, and one period is repeated throughout.
"""

import numpy as np

from fac_stream.audio.frames import Samples

PAST_S = 0.045
"""Seconds of the past that ``conceal`` looks at: three of the longest periods."""


def conceal(past: Samples, length: int, rate: int) -> Samples:
    """Float32 ``[length]`` at ``rate`` Hertz to follow ``past``; silence after less than ``PAST_S``."""
    if len(past) < round(PAST_S * rate):
        return np.zeros(length, np.float32)
    period = _period(past, rate)
    time = np.arange(length, dtype=np.float32) / np.float32(rate)
    filled: Samples = np.resize(past[-period:], length) * np.clip(1.2 - 20.0 * time, 0.0, 1.0)
    return filled


def _period(past: Samples, rate: int) -> int:
    """Samples of the lag from 5 to 15 ms at which the last 20 ms are most like what came before."""
    recent = past[-rate // 50 :]
    lags = np.arange(rate // 200, rate * 15 // 1000 + 1)
    before = np.lib.stride_tricks.sliding_window_view(past, len(recent))[len(past) - len(recent) - lags]
    likeness = before @ recent / np.sqrt(np.square(before).sum(axis=1) + 1e-9)
    return int(lags[likeness.argmax()])
