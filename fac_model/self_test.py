"""Sounds whose logits a bundle knows, so that a machine can tell whether it computes what was trained."""

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000


def known_sounds(window_samples: int) -> npt.NDArray[np.float32]:
    """A voice's build, a rising tone, noise in bursts: float32 ``[3, window_samples]``, always the same."""
    time_s = np.arange(window_samples) / SAMPLE_RATE
    syllables = np.maximum(0.0, np.sin(2.0 * np.pi * 3.0 * time_s))
    phase = np.cumsum(140.0 * (1.0 + 0.03 * np.sin(2.0 * np.pi * 5.0 * time_s))) / SAMPLE_RATE
    harmonics = np.arange(1, 50)
    voice = (np.cos(2.0 * np.pi * phase[:, None] * harmonics) / harmonics).sum(axis=1)
    rising = np.sin(2.0 * np.pi * (200.0 * time_s + 800.0 * time_s**2))
    # No generator of a library, whose next version may draw other numbers.
    mixed = np.arange(window_samples, dtype=np.uint64) * np.uint64(2_654_435_761) % np.uint64(2**32)
    mixed = (mixed ^ mixed >> np.uint64(16)) * np.uint64(73_244_475) % np.uint64(2**32)
    noise = (mixed ^ mixed >> np.uint64(16)).astype(np.float64) / 2.0**31 - 1.0
    sounds = (0.1 * voice * syllables, 0.2 * rising, 0.05 * noise * (1.0 - syllables))
    return np.stack(sounds).astype(np.float32)
