"""How loud samples are."""

import math

import numpy as np

from fac_stream.audio.frames import Samples


def rms_dbfs(samples: Samples) -> float | None:
    """RMS of all ``samples``, dB relative to full scale; None for digital silence or no samples."""
    flat = samples.ravel()
    # float64: the sum of 32,000 squares of quiet noise must not lose digits.
    power = float(np.einsum("i,i->", flat, flat, dtype=np.float64)) / max(flat.size, 1)
    return 10.0 * math.log10(power) if power > 0.0 else None
