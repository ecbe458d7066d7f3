import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fac_model.config import FrontEndConfig
from fac_model.front_end import LogSpectrogram, PowerSpectrum, band_edges, filters

PRESETS = ["default", "predecessor"]


def plain_power(waves, config):
    """The power spectrum as a textbook has it, in double precision: ``[B, frames, n_fft / 2 + 1]``."""
    around = ((0, 0), (config.padding, config.padding))
    padded = np.pad(waves.astype(np.float64), around, mode=config.padding_mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft, axis=1)[:, :: config.hop_length]
    hann = np.sin(np.pi * np.arange(config.n_fft) / config.n_fft) ** 2
    return np.abs(np.fft.rfft(frames * hann)) ** 2


def plain_image(waves, config):
    """Decibels below the window's maximum, cut off at ``top_db``, z-scored: ``[B, bands, frames]``."""
    mels = plain_power(waves, config) @ filters(config).astype(np.float64)
    decibels = 10 * np.log10(mels / mels.max(axis=(1, 2), keepdims=True) + 1e-30)
    clipped = np.maximum(decibels, -config.top_db)
    mean, deviation = clipped.mean(axis=(1, 2), keepdims=True), clipped.std(axis=(1, 2), keepdims=True)
    return ((clipped - mean) / deviation).transpose(0, 2, 1)


@pytest.mark.parametrize(("name", "frames"), [("default", 200), ("predecessor", 126)])
def test_two_seconds_give_the_frames_of_the_preset(name, frames, waves):
    """The default image is 128x200, the predecessor's 128x126."""
    config = FrontEndConfig.preset(name)
    assert config.frames == frames
    assert LogSpectrogram(config)(torch.from_numpy(waves)).shape == (5, 1, 128, frames)


@pytest.mark.parametrize(
    "config",
    [*map(FrontEndConfig.preset, PRESETS), FrontEndConfig(n_fft=256, hop_length=100, padding=0, bands=20)],
)
def test_folded_products_equal_the_fourier_transform(config):
    """Folding and multiplying gives the power that a double-precision FFT gives."""
    noise = np.random.default_rng(2).normal(size=(2, 32_000)).astype(np.float32)
    spectrum = PowerSpectrum(config)
    expected = plain_power(noise, config)[..., spectrum.bins]
    assert np.abs(spectrum(torch.from_numpy(noise)).numpy() - expected).max() < 1e-6 * expected.max()


@pytest.mark.parametrize("name", PRESETS)
def test_image_equals_its_definition(name, waves):
    """The image is the clipped, z-scored decibels of the definition, written out in double precision."""
    config = FrontEndConfig.preset(name)
    image = LogSpectrogram(config)(torch.from_numpy(waves[1:])).numpy()[:, 0]
    assert np.abs(image - plain_image(waves[1:], config)).max() < 1e-3


@given(gain_db=st.floats(-40.0, 0.0))
@settings(max_examples=20, deadline=None)
def test_level_does_not_matter(gain_db, waves):
    """A recording that is up to 40 dB fainter gives the same image."""
    loud = torch.from_numpy(waves)
    faint = loud * 10 ** (gain_db / 20)
    front_end = LogSpectrogram()
    assert (front_end(faint) - front_end(loud)).abs().max() < 1e-3


def test_dc_offset_does_not_matter(waves):
    """A converter's DC offset leaves the default image as it is."""
    front_end = LogSpectrogram()
    clean = torch.from_numpy(waves[1:3])
    assert (front_end(clean + 0.05) - front_end(clean)).abs().max() < 0.05


def test_digital_silence_is_an_even_image():
    """Zeros in, zeros out: nothing infinite, nothing made up."""
    assert not LogSpectrogram()(torch.zeros(2, 32_000)).any()


@pytest.mark.parametrize(
    "wave",
    [
        torch.full((1, 32_000), 2.0**-15),
        torch.nn.functional.one_hot(torch.tensor([7]), 32_000) * 2.0**-15,
        torch.ones(1, 32_000),
        torch.full((1, 32_000), 1e-30),
        torch.sin(torch.arange(32_000) * 0.4)[None],
    ],
    ids=["one bit", "one faint click", "full-scale offset", "denormal", "tone"],
)
def test_odd_input_stays_finite(wave):
    """Windows with almost nothing in them give finite images of bounded size."""
    image = LogSpectrogram()(wave.float())
    assert image.isfinite().all()
    assert image.abs().max() < 200


def test_batch_equals_single(waves):
    """A window's image does not depend on its neighbours in the batch."""
    front_end, batch = LogSpectrogram(), torch.from_numpy(waves)
    singly = torch.cat([front_end(window[None]) for window in batch])
    assert (front_end(batch) - singly).abs().max() < 1e-4


def test_autocast_does_not_reach_the_front_end(waves):
    """Training in half precision sees the image that serving sees."""
    front_end, batch = LogSpectrogram(), torch.from_numpy(waves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = front_end(batch)
    assert torch.equal(image, front_end(batch))


@pytest.mark.parametrize("shape", [(1, 31_999), (1, 32_001), (1, 64_000), (32_000,), (1, 1, 32_000)])
def test_other_lengths_are_refused(shape):
    """A window that is not 2 s long is refused, not cut or filled up in silence."""
    with pytest.raises(ValueError, match="32000"):
        LogSpectrogram()(torch.zeros(shape))


@pytest.mark.parametrize("name", PRESETS)
def test_every_mel_filter_has_unit_area(name):
    """No filter falls between the bins, and sums of bins approximate the area of 1."""
    config = FrontEndConfig.preset(name)
    areas = filters(config).sum(axis=0) * config.sample_rate / config.n_fft
    assert areas.min() > 0.5
    assert np.abs(areas[64:] - 1).max() < 0.05


@pytest.mark.parametrize(("hertz", "mel"), [(100.0, 1.5), (1_000.0, 15.0), (6_400.0, 42.0)])
def test_mel_scale_is_slaneys(hertz, mel):
    """Filters peak where the scale puts them: 200/3 Hz a mel, above 1 kHz 27 mels a factor of 6.4."""
    config = FrontEndConfig(f_min=0.0, n_fft=4096, padding=1968)
    top = 15.0 + np.log(8.0) / np.log(6.4) * 27
    index = mel / top * (config.bands + 1) - 1
    bin_of = round(hertz / config.sample_rate * config.n_fft)
    assert abs(int(filters(config)[bin_of].argmax()) - index) <= 0.51


@pytest.mark.parametrize("scale", ["mel", "linear", "log"])
def test_every_scale_reaches_from_end_to_end(scale):
    """Edges rise from the lowest frequency to the highest, and no band is without a bin."""
    config = FrontEndConfig(scale=scale)
    edges = band_edges(config)
    assert edges.shape == (config.bands + 2,)
    assert (edges[0], edges[-1]) == pytest.approx((config.f_min, config.f_max))
    assert (np.diff(edges) > 0).all()
    assert (filters(config).max(axis=0) > 0).all()


def test_linear_bands_are_equally_wide():
    """In Hertz, all of them."""
    assert np.ptp(np.diff(band_edges(FrontEndConfig(scale="linear")))) < 1e-6


def test_logarithmic_bands_are_equally_wide_in_octaves():
    """But where bins lie further apart than that, as far apart as bins."""
    edges = band_edges(FrontEndConfig(scale="log"))
    wide = np.diff(edges) > 16_000 / 1024 + 1e-6
    assert 0 < wide.sum() < len(wide)
    assert np.diff(edges)[~wide] == pytest.approx(16_000 / 1024)
    assert np.ptp((edges[1:] / edges[:-1])[wide]) < 1e-6


@pytest.mark.parametrize(
    "fault",
    [
        {"f_min": 4000, "f_max": 3000},
        {"n_fft": 1022},
        {"bands": 100_000},
        {"hop_length": 0},
        {"sample_rate": 8000},
        {"scale": "log", "f_min": 0.0},
        {"scale": "log", "n_fft": 256, "padding": 48},
        {"window_samples": 64_000},
        {"top_db": float("nan")},
        {"unknown": 1},
    ],
)
def test_settings_out_of_range_are_refused(fault):
    """Settings that make no image are refused where they are read."""
    with pytest.raises(ValidationError):
        FrontEndConfig.model_validate(fault)
