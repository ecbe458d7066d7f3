"""The front end against torchaudio's, which others wrote."""

import numpy as np
import pytest
import torch
import torchaudio

from fac_model.config import FrontEndConfig
from fac_model.front_end import PowerSpectrum, filters

CONFIGS = [FrontEndConfig.preset("default"), FrontEndConfig.preset("predecessor")]


@pytest.mark.parametrize("config", CONFIGS, ids=["default", "predecessor"])
def test_filters_are_torchaudios(config):
    """Slaney's scale and areas, every filter."""
    theirs = torchaudio.functional.melscale_fbanks(
        n_freqs=config.n_fft // 2 + 1,
        f_min=config.f_min,
        f_max=config.f_max,
        n_mels=config.bands,
        sample_rate=config.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    ).numpy()

    assert np.abs(filters(config) - theirs).max() < 1e-4 * theirs.max()


@pytest.mark.parametrize("config", CONFIGS, ids=["default", "predecessor"])
def test_power_spectrum_is_torchaudios(config, waves):
    """Every bin of every frame, but for Nyquist, which no mel filter reaches."""
    around = (config.padding, config.padding)
    padded = torch.nn.functional.pad(torch.from_numpy(waves), around, mode=config.padding_mode)
    transform = torchaudio.transforms.Spectrogram(config.n_fft, hop_length=config.hop_length, center=False)
    spectrum = PowerSpectrum(config)

    theirs = transform(padded).transpose(1, 2)[..., spectrum.bins]
    ours = spectrum(torch.from_numpy(waves))

    assert ours.shape == theirs.shape
    loudest = theirs.amax(dim=(1, 2), keepdim=True)
    assert ((ours - theirs).abs() <= 1e-5 * loudest).all()
