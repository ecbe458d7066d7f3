import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_stream.audio.frames import SAMPLE_RATE
from fac_stream.audio.resample import Resampler
from fac_stream.errors import AudioError

RATES = st.one_of(st.sampled_from([4000, 8000, 11025, 16000, 22050, 44100, 48000]), st.integers(4000, 64_000))


def noise(count: int, channels: int = 1) -> np.ndarray:
    """Noise with a fixed seed, float32 ``[count, channels]``."""
    return (0.1 * np.random.default_rng(0).standard_normal((count, channels))).astype(np.float32)


@settings(deadline=None, max_examples=80)
@given(
    rate=RATES,
    channels=st.integers(1, 3),
    seconds=st.floats(0.0, 1.5),
    cuts=st.lists(st.floats(0.0, 1.0), max_size=8),
)
def test_pieces_sound_like_the_whole(rate, channels, seconds, cuts):
    """Pushed in any pieces, the result is the whole signal's, to the rounding of float32."""
    samples = noise(int(seconds * rate), channels)
    resampler = Resampler(rate, channels)
    marks = sorted(int(c * len(samples)) for c in cuts)
    pieces = [resampler.push(piece) for piece in np.split(samples, marks)]
    joined = np.concatenate([*pieces, resampler.flush()])
    whole = samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE, "HQ")
    assert joined.shape == whole.shape
    assert joined.dtype == np.float32
    assert np.abs(joined - whole).max(initial=0.0) < 3e-6


@settings(deadline=None, max_examples=60)
@given(rate=RATES, outputs=st.integers(1, 20_000))
def test_needed_is_exact(rate, outputs):
    """With the stated number of samples the output is settled; with one less it is not."""
    needed = Resampler(rate, 1).needed(outputs)
    assert len(Resampler(rate, 1).push(noise(needed))) >= outputs
    assert len(Resampler(rate, 1).push(noise(needed - 1))) < outputs


def test_flush_starts_anew():
    """After a flush nothing of the old stream is left."""
    used, fresh = Resampler(8000, 1), Resampler(8000, 1)
    used.push(noise(12_345))
    used.flush()
    assert np.array_equal(used.push(noise(8000)), fresh.push(noise(8000)))
    assert np.array_equal(used.flush(), fresh.flush())


def test_16_khz_passes_unchanged():
    """At the target rate every sample goes straight through."""
    samples = noise(1000, 2)
    resampler = Resampler(SAMPLE_RATE, 2)
    assert np.array_equal(resampler.push(samples), samples)
    assert len(resampler.flush()) == 0


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3400.0])
def test_telephone_speech_keeps_its_band(hertz):
    """Tones up to 3.4 kHz come out of an 8 kHz stream within 0.1 dB."""
    time = np.arange(8000)[:, None] / 8000
    resampler = Resampler(8000, 1)
    out = np.concatenate(
        (resampler.push(np.sin(2 * np.pi * hertz * time).astype(np.float32)), resampler.flush())
    )
    rms = np.sqrt(np.mean(out[2000:-2000] ** 2))
    assert 20 * np.log10(rms * np.sqrt(2)) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("rate", [-1, 0, 3999, 192_001])
def test_rates_out_of_bounds_are_refused(rate):
    """The error names the rate and the bounds."""
    with pytest.raises(AudioError, match=f"{rate} Hz cannot be resampled: use 4000 to 192000 Hz"):
        Resampler(rate, 1)
