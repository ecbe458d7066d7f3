"""Spectrograms and back: transforms, mel bands, phase guessed from magnitudes, stretching.

Samples are float32 ``[n]`` at full scale ±1, spectra complex64 ``[frames, bins]`` with every sample under as
many Hann windows as there are hops in one.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import Samples
from fac_stream.errors import AudioError

MIN_RATE, MAX_RATE = 8_000, 48_000
MAX_DURATION_S = 120
"""Griffin-Lim keeps the whole spectrogram in memory; cut longer recordings first."""

Spectrum = npt.NDArray[np.complexfloating]
Scale = Literal["htk", "slaney"]


def griffin_lim(samples: Samples, sample_rate: int) -> Samples:
    """Throw the phase away and guess it again (Griffin and Lim 1984; fast variant of Perraudin et al. 2013).

    Args:
        samples: float32 ``[n]``.
        sample_rate: Hertz, 8000 to 48000.

    Raises:
        AudioError: the samples are empty, not finite or longer than two minutes, or the rate is absurd.
    """
    _check(samples, sample_rate)
    n_fft = 1 << round(np.log2(0.064 * sample_rate))
    hop = n_fft // 4
    magnitude = np.abs(stft(samples, n_fft, hop))
    turn = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, magnitude.shape)
    spectrum = guess_phase(magnitude * np.exp(1j * turn), hop, len(samples), iterations=32)
    return _limit(istft(spectrum, n_fft, hop, len(samples)))


def guess_phase(
    spectrum: Spectrum, hop: int, length: int, *, iterations: int, momentum: float = 0.99, true_bins: int = 0
) -> Spectrum:
    """Change the phases until neighbouring frames agree, and keep the magnitudes.

    Args:
        spectrum: complex ``[frames, bins]`` of ``length`` samples, with the phases to start from.
        hop: samples between frames.
        length: samples.
        iterations: 0 changes nothing.
        momentum: 0 is Griffin and Lim's own, 0.99 the fast variant.
        true_bins: so many of the lowest bins also keep their phases.
    """
    n_fft = 2 * (spectrum.shape[1] - 1)
    magnitude = np.abs(spectrum).astype(np.float32)
    kept = spectrum[:, :true_bins].astype(np.complex64)
    spectrum = spectrum.astype(np.complex64)
    previous = np.zeros_like(spectrum)
    for _ in range(iterations):
        consistent = stft(istft(spectrum, n_fft, hop, length), n_fft, hop)
        guess = consistent + np.float32(momentum) * (consistent - previous)
        previous = consistent
        spectrum = guess * (magnitude / np.maximum(np.abs(guess), np.float32(1e-9)))
        spectrum[:, :true_bins] = kept
    return spectrum


def stretch(samples: Samples, factor: float) -> Samples:
    """Slower at the same pitch, ``[n]`` to ``[factor * n]``: phase vocoder (Flanagan and Golden 1966).

    Raises:
        ValueError: the factor is not between 0.5 and 2.
    """
    if not 0.5 <= factor <= 2.0:
        raise ValueError(f"cannot stretch by {factor}; use 0.5 to 2")
    n_fft, hop = 1024, 256
    spectrum = stft(samples, n_fft, hop)
    expected = 2.0 * np.pi * hop * np.arange(spectrum.shape[1]) / n_fft
    length = round(len(samples) * factor)
    places = np.arange(0.0, len(spectrum) - 1, 1.0 / factor)
    first = places.astype(int)
    share = (places - first)[:, None]
    magnitude = (1.0 - share) * np.abs(spectrum[first]) + share * np.abs(spectrum[first + 1])
    turn = np.angle(spectrum[first + 1]) - np.angle(spectrum[first]) - expected
    advance = expected + turn - 2.0 * np.pi * np.round(turn / (2.0 * np.pi))
    phase = np.cumsum(np.vstack([np.angle(spectrum[:1]), advance[:-1]]), axis=0)
    return istft(magnitude * np.exp(1j * phase), n_fft, hop, length, round(n_fft * factor))


@lru_cache(maxsize=16)
def mel_filters(
    n_mels: int, n_fft: int, sample_rate: int, scale: Scale = "htk"
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Triangles of equal width on a mel scale, ``[n_mels, n_fft // 2 + 1]``, and their pseudo-inverse.

    ``htk`` is O'Shaughnessy's formula (1987); ``slaney`` is straight to 1 kHz and logarithmic above, with 27
    steps from there to 6.4 kHz (Slaney's Auditory Toolbox, 1998).
    """
    edges = _hertz(np.linspace(0.0, _mel(sample_rate / 2, scale), n_mels + 2), scale)
    frequencies = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return bands, np.linalg.pinv(bands, rcond=1e-3).astype(np.float32)


def _mel(hertz: float, scale: Scale) -> float:
    if scale == "htk":
        return float(2595.0 * np.log10(1.0 + hertz / 700.0))
    logarithmic = 15.0 + 27.0 * np.log(max(hertz, 1000.0) / 1000.0) / np.log(6.4)
    return float(hertz * 3.0 / 200.0 if hertz < 1000.0 else logarithmic)


def _hertz(mels: npt.NDArray[np.float64], scale: Scale) -> npt.NDArray[np.float64]:
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * 6.4 ** ((mels - 15.0) / 27.0))


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


@lru_cache(maxsize=16)
def _hann(n_fft: int) -> npt.NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def stft(samples: Samples, n_fft: int, hop: int) -> Spectrum:
    """float32 ``[n]`` to complex64 ``[frames, n_fft // 2 + 1]``.

    Frame k is centred on sample ``k * hop - n_fft // 2``; ``hop`` divides ``n_fft`` by four or more.
    """
    tail = -len(samples) % hop
    padded = np.pad(samples, (n_fft, n_fft + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.fft.rfft(frames * _hann(n_fft), axis=1).astype(np.complex64)


def istft(spectrum: Spectrum, n_fft: int, hop: int, length: int, first: int | None = None) -> Samples:
    """Overlap-add with the same window: squared Hann windows at a hop of 1/k sum to 3 k / 8.

    ``first`` is where the ``length`` samples begin; None for where ``stft`` padded to.
    """
    parts = n_fft // hop
    frames = np.fft.irfft(spectrum, n_fft, axis=1).astype(np.float32) * (_hann(n_fft) / (0.375 * parts))
    pieces = frames.reshape(len(frames), parts, hop)
    out = np.zeros((len(frames) + parts - 1, hop), np.float32)
    for k in range(parts):
        out[k : k + len(frames)] += pieces[:, k]
    start = n_fft if first is None else first
    return out.reshape(-1)[start : start + length]
