"""Batches of sounds: every channel changes each row for itself and keeps its length."""

from collections.abc import Callable

import numpy as np

from fac_stream.audio.frames import Samples


def by_row(samples: Samples, change: Callable[[Samples], Samples]) -> Samples:
    """Change each row of float32 ``[..., n]`` for itself."""
    rows = samples.reshape(-1, samples.shape[-1])
    return np.stack([change(row) for row in rows]).astype(np.float32).reshape(samples.shape)


def fit(samples: Samples, n: int) -> Samples:
    """Cut or padded with silence to ``[n]``."""
    return np.pad(samples[:n], (0, max(0, n - len(samples)))).astype(np.float32)


def rms(samples: Samples) -> Samples:
    """Root of the mean square along the last axis, ``[..., 1]``."""
    power: Samples = np.mean(np.square(samples), axis=-1, keepdims=True)
    return np.sqrt(power)


def as_loud(samples: Samples, like: Samples) -> Samples:
    """Each row of float32 ``[..., n]`` at the RMS of that row of another."""
    return np.asarray(samples * (rms(like) / np.maximum(rms(samples), np.float32(1e-9))), np.float32)
