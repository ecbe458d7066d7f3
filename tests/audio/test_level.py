import math

import numpy as np
import pytest

from fac_stream.audio.level import rms_dbfs


def test_digital_silence_has_no_level():
    """Silence and nothing are None, never 0 dBFS."""
    assert rms_dbfs(np.zeros(320, np.float32)) is None
    assert rms_dbfs(np.zeros(0, np.float32)) is None


@pytest.mark.parametrize(("amplitude", "expected"), [(1.0, 0.0), (0.1, -20.0), (1e-4, -80.0)])
def test_a_square_wave_has_the_level_of_its_amplitude(amplitude, expected):
    """The level is relative to full scale, over a range of 80 dB."""
    square = np.float32(amplitude) * np.where(np.arange(32000) % 40 < 20, 1, -1).astype(np.float32)
    assert rms_dbfs(square) == pytest.approx(expected, abs=1e-3)


def test_a_sine_is_three_decibels_below():
    """A full-scale sine has an RMS level of -3.01 dBFS, whatever its shape."""
    sine = np.sin(2 * np.pi * np.arange(16000) / 16).astype(np.float32).reshape(-1, 2)
    assert rms_dbfs(sine) == pytest.approx(10 * math.log10(0.5), abs=1e-3)


def test_ten_times_quieter_is_twenty_decibels_less():
    """Scaling shifts the level and nothing else."""
    noise = np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    assert rms_dbfs(noise) - rms_dbfs(noise / 10) == pytest.approx(20.0, abs=1e-4)
