"""Transforms are exact; Griffin-Lim keeps length, level and spectrum, and loses the waveform."""

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


@pytest.mark.parametrize("n", [RATE, RATE + 333, 2_000])
def test_a_copy_keeps_length_type_and_level(n):
    """Any length comes back with that length, float32, finite, within 3 dB of its level."""
    samples = voiced(1.5)[:n]
    copy = vocoder.griffin_lim(samples, RATE)
    assert copy.shape == samples.shape
    assert copy.dtype == np.float32
    assert np.isfinite(copy).all()
    assert 0.7 < np.std(copy) / np.std(samples) < 1.4


def test_a_copy_is_not_the_original():
    """The phase is made anew, so the waveform differs by more than -6 dB."""
    samples = voiced()
    assert np.std(vocoder.griffin_lim(samples, RATE) - samples) > 0.5 * np.std(samples)


@pytest.mark.parametrize(("n_fft", "overlap"), [(1024, 4), (800, 8), (640, 4)])
def test_transform_and_inverse_are_exact(n_fft, overlap):
    """Without a change of phase the overlap-add gives the samples back."""
    samples = voiced()[:12_345]
    hop = n_fft // overlap
    back = vocoder.istft(vocoder.stft(samples, n_fft, hop), n_fft, hop, len(samples))
    np.testing.assert_allclose(back, samples, atol=1e-5)


def test_guessing_a_phase_changes_nothing_else():
    """Magnitudes stay, and so do the bins whose phase is said to be true."""
    samples = voiced()
    spectrum = vocoder.stft(samples, 512, 128)
    turned = spectrum * np.exp(1j * np.random.default_rng(0).uniform(-3, 3, spectrum.shape))
    turned[:, :20] = spectrum[:, :20]
    guess = vocoder.guess_phase(turned, 128, len(samples), iterations=3, true_bins=20)
    np.testing.assert_allclose(np.abs(guess), np.abs(spectrum), atol=1e-3)
    np.testing.assert_array_equal(guess[:, :20], spectrum[:, :20])


def test_griffin_lim_is_deterministic_and_keeps_the_magnitudes():
    """The same samples come out twice, with a spectrogram close to the original's."""
    samples = voiced()
    copy = vocoder.griffin_lim(samples, RATE)
    np.testing.assert_array_equal(copy, vocoder.griffin_lim(samples, RATE))
    before, after = (np.abs(vocoder.stft(x, 1024, 256)) for x in (samples, copy))
    assert np.linalg.norm(before - after) < 0.3 * np.linalg.norm(before)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_filters_cover_the_band(scale):
    """Every bin between the first and the last centre is under some filter; smooth spectra come back."""
    bands, back = vocoder.mel_filters(40, 1024, RATE, scale)
    assert bands.shape == (40, 513)
    assert back.shape == (513, 40)
    assert (bands[:, 8:-8].sum(axis=0) > 0).all()
    flat = back @ (bands @ np.ones(513))
    np.testing.assert_allclose(flat[50:450], 1.0, atol=0.1)


def test_mel_scales_meet_their_definitions():
    """O'Shaughnessy: 1000 mel at 1 kHz; Slaney: 15 at 1 kHz, 42 at 6.4 kHz, straight below; both invert."""
    assert vocoder._mel(1000.0, "htk") == pytest.approx(1000.0, abs=0.1)
    assert [vocoder._mel(f, "slaney") for f in (500.0, 1000.0, 6400.0)] == pytest.approx([7.5, 15.0, 42.0])
    for scale in ("htk", "slaney"):
        places = np.array([vocoder._mel(f, scale) for f in (100.0, 999.0, 7999.0)])
        np.testing.assert_allclose(vocoder._hertz(places, scale), [100.0, 999.0, 7999.0])


def test_digital_silence_stays_finite():
    """No division by zero, no noise from nothing."""
    copy = vocoder.griffin_lim(np.zeros(RATE, np.float32), RATE)
    assert np.max(np.abs(copy)) < 1e-3


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
def test_what_cannot_be_resynthesised_is_refused(samples, rate):
    """Empty, not finite, stereo, absurd rate and too long are told apart from audio."""
    with pytest.raises(AudioError):
        vocoder.griffin_lim(samples, rate)
