"""Copy synthesis: the same words, voice and level, but every sample made by a vocoder.

Both functions take and return float32 ``[n]`` at full scale ±1 and keep the length.
"""

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import Samples
from fac_stream.errors import AudioError

MIN_RATE, MAX_RATE = 8_000, 48_000
MAX_DURATION_S = 120
"""Griffin-Lim keeps the whole spectrogram in memory; cut longer recordings first."""

Spectrum = npt.NDArray[np.complexfloating]


def griffin_lim(
    samples: Samples, sample_rate: int, *, n_mels: int | None = None, iterations: int = 32, seed: int = 0
) -> Samples:
    """Throw the phase away and guess it again (Griffin and Lim 1984; fast variant of Perraudin et al. 2013).

    Args:
        samples: float32 ``[n]``.
        sample_rate: Hertz, 8000 to 48000.
        n_mels: also squeeze the magnitudes through so many mel bands, as text-to-speech systems do.
        iterations: more sound cleaner.
        seed: of the first, random phase.

    Raises:
        AudioError: the samples are empty, not finite or longer than two minutes, or the rate is absurd.
    """
    _check(samples, sample_rate)
    n_fft = 1 << round(np.log2(0.064 * sample_rate))
    hop = n_fft // 4
    magnitude = np.abs(_stft(samples, n_fft, hop))
    if n_mels is not None:
        bands = mel_filters(n_mels, n_fft, sample_rate)
        magnitude = np.maximum(magnitude @ bands.T @ np.linalg.pinv(bands).T, 0.0)
    turn = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, magnitude.shape)
    spectrum = (magnitude * np.exp(1j * turn)).astype(np.complex64)
    previous = np.zeros_like(spectrum)
    for _ in range(iterations):
        consistent = _stft(_istft(spectrum, n_fft, hop, len(samples)), n_fft, hop)
        guess = consistent + 0.99 * (consistent - previous)
        previous = consistent
        spectrum = magnitude * guess / np.maximum(np.abs(guess), 1e-9)
    return _limit(_istft(spectrum, n_fft, hop, len(samples)))


def world(samples: Samples, sample_rate: int, *, pitch: float = 1.0) -> Samples:
    """Analyse into pitch, envelope and aperiodicity, and synthesise (WORLD: Morise, Yokomori and Ozawa 2016).

    Args:
        samples: float32 ``[n]``.
        sample_rate: Hertz, 8000 to 48000.
        pitch: factor on the fundamental frequency.

    Raises:
        AudioError: as ``griffin_lim``, or pyworld is not installed.
    """
    _check(samples, sample_rate)
    try:
        import pyworld  # noqa: PLC0415 - an extra
    except ImportError:
        raise AudioError("the WORLD vocoder needs pyworld: pip install 'fac-stream[train]'") from None
    wave = np.ascontiguousarray(samples, np.float64)
    f0, envelope, aperiodicity = pyworld.wav2world(wave, sample_rate)
    made = pyworld.synthesize(f0 * pitch, envelope, aperiodicity, sample_rate)
    out = np.zeros(len(samples), np.float32)
    out[: len(made)] = made[: len(out)]
    return _limit(np.nan_to_num(out))


def stretch(samples: Samples, factor: float) -> Samples:
    """Slower at the same pitch, ``[n]`` to ``[factor * n]``: phase vocoder (Flanagan and Golden 1966).

    Raises:
        ValueError: the factor is not between 0.5 and 2.
    """
    if not 0.5 <= factor <= 2.0:
        raise ValueError(f"cannot stretch by {factor}; use 0.5 to 2")
    n_fft, hop = 1024, 256
    spectrum = _stft(samples, n_fft, hop)
    expected = 2.0 * np.pi * hop * np.arange(spectrum.shape[1]) / n_fft
    length = round(len(samples) * factor)
    places = np.arange(0.0, len(spectrum) - 1, 1.0 / factor)
    first = places.astype(int)
    share = (places - first)[:, None]
    magnitude = (1.0 - share) * np.abs(spectrum[first]) + share * np.abs(spectrum[first + 1])
    turn = np.angle(spectrum[first + 1]) - np.angle(spectrum[first]) - expected
    advance = expected + turn - 2.0 * np.pi * np.round(turn / (2.0 * np.pi))
    phase = np.cumsum(np.vstack([np.angle(spectrum[:1]), advance[:-1]]), axis=0)
    return _istft(magnitude * np.exp(1j * phase), n_fft, hop, length, round(n_fft * factor))


def mel_filters(n_mels: int, n_fft: int, sample_rate: int) -> npt.NDArray[np.float64]:
    """Triangles of equal width on the mel scale (O'Shaughnessy 1987), ``[n_mels, n_fft // 2 + 1]``."""
    top = 2595.0 * np.log10(1.0 + sample_rate / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, n_mels + 2) / 2595.0) - 1.0)
    frequencies = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def _check(samples: Samples, sample_rate: int) -> None:
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"cannot resynthesise at {sample_rate} Hz; use {MIN_RATE} to {MAX_RATE} Hz")
    if samples.ndim != 1 or not 0.1 * sample_rate <= len(samples) <= MAX_DURATION_S * sample_rate:
        raise AudioError(f"copy synthesis takes one channel of 0.1 to {MAX_DURATION_S} s")
    if not np.isfinite(samples).all():
        raise AudioError("the samples are not finite")


def _limit(samples: Samples) -> Samples:
    """Turn down what would clip: clipping on one class only would be learnt instead of the vocoder."""
    peak = float(np.max(np.abs(samples)))
    return (samples / peak if peak > 1.0 else samples).astype(np.float32)


def _hann(n_fft: int) -> npt.NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def _stft(samples: Samples, n_fft: int, hop: int) -> Spectrum:
    """float32 ``[n]`` to complex ``[frames, n_fft // 2 + 1]``, every sample under four windows."""
    tail = -len(samples) % hop
    padded = np.pad(samples, (n_fft, n_fft + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.fft.rfft(frames * _hann(n_fft), axis=1).astype(np.complex64)


def _istft(spectrum: Spectrum, n_fft: int, hop: int, length: int, first: int | None = None) -> Samples:
    """Overlap-add with the same window: four squared Hann windows at a quarter hop sum to 1.5.

    ``first`` is where the ``length`` samples begin; None for where ``_stft`` padded to.
    """
    frames = np.fft.irfft(spectrum, n_fft, axis=1).astype(np.float32) * (_hann(n_fft) / 1.5)
    quarters = frames.reshape(len(frames), 4, hop)
    out = np.zeros((len(frames) + 3, hop), np.float32)
    for k in range(4):
        out[k : k + len(frames)] += quarters[:, k]
    start = n_fft if first is None else first
    return out.reshape(-1)[start : start + length]
