"""Sounds that a network tells apart at once: what the training tests train on."""

import numpy as np

RATE = 16_000


def sound(kind: str, seed: int, seconds: float = 2.4) -> np.ndarray:
    """Humans are gliding harmonic tones, synthetic ones steady buzzes: a network tells them apart at once."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    if kind == "nonspeech":
        return rng.normal(0, 0.05, len(t)).astype(np.float32)
    glide = 40 * np.sin(2 * np.pi * 2 * t) if kind == "real" else 0.0
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 250) + glide + 0 * t) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 15)) + rng.normal(0, 0.05, len(t))
    return (0.1 * wave).astype(np.float32)
