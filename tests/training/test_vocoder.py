"""Copy synthesis keeps length, level and spectrum, and loses the waveform."""

import numpy as np
import pytest

from fac_stream.errors import AudioError
from training import vocoder

RATE = 16_000


def voiced(seconds: float = 1.0) -> np.ndarray:
    """A gliding harmonic tone with noise: enough like a voice for a vocoder."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * t)) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    noise = np.random.default_rng(0).normal(0, 0.02, len(t))
    return (0.1 * tone + 0.1 * noise).astype(np.float32)


@pytest.mark.parametrize("make", [vocoder.griffin_lim, vocoder.world])
@pytest.mark.parametrize("n", [RATE, RATE + 333, 2_000])
def test_a_copy_keeps_length_type_and_level(make, n):
    """Any length comes back with that length, float32, finite, within 3 dB of its level."""
    samples = voiced(1.5)[:n]
    copy = make(samples, RATE)
    assert copy.shape == samples.shape
    assert copy.dtype == np.float32
    assert np.isfinite(copy).all()
    assert 0.7 < np.std(copy) / np.std(samples) < 1.4


@pytest.mark.parametrize("make", [vocoder.griffin_lim, vocoder.world])
def test_a_copy_is_not_the_original(make):
    """The phase is made anew, so the waveform differs by more than -6 dB."""
    samples = voiced()
    assert np.std(make(samples, RATE) - samples) > 0.5 * np.std(samples)


def test_transform_and_inverse_are_exact():
    """Without a change of phase the overlap-add gives the samples back."""
    samples = voiced()[:12_345]
    back = vocoder._istft(vocoder._stft(samples, 1024, 256), 1024, 256, len(samples))
    np.testing.assert_allclose(back, samples, atol=1e-5)


def test_griffin_lim_is_deterministic_and_keeps_the_magnitudes():
    """The same seed gives the same samples, whose spectrogram is close to the original's."""
    samples = voiced()
    copy = vocoder.griffin_lim(samples, RATE)
    np.testing.assert_array_equal(copy, vocoder.griffin_lim(samples, RATE))
    before, after = (np.abs(vocoder._stft(x, 1024, 256)) for x in (samples, copy))
    assert np.linalg.norm(before - after) < 0.3 * np.linalg.norm(before)


def test_mel_filters_cover_the_band():
    """Every bin between the first and the last centre is under some filter."""
    bands = vocoder.mel_filters(40, 1024, RATE)
    assert bands.shape == (40, 513)
    assert (bands[:, 8:-8].sum(axis=0) > 0).all()


@pytest.mark.parametrize("make", [vocoder.griffin_lim, vocoder.world])
def test_digital_silence_stays_finite(make):
    """No division by zero, no noise from nothing."""
    copy = make(np.zeros(RATE, np.float32), RATE)
    assert np.max(np.abs(copy)) < 1e-3


@pytest.mark.parametrize("make", [vocoder.griffin_lim, vocoder.world])
@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros(0, np.float32), RATE),
        (np.full(RATE, np.nan, np.float32), RATE),
        (np.zeros((RATE, 2), np.float32), RATE),
        (np.zeros(RATE, np.float32), 10),
        (np.zeros(121 * RATE, np.float32), RATE),
    ],
)
def test_what_cannot_be_resynthesised_is_refused(make, samples, rate):
    """Empty, not finite, stereo, absurd rate and too long are told apart from audio."""
    with pytest.raises(AudioError):
        make(samples, rate)
