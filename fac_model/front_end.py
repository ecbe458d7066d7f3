"""From waveform to log-mel image: the one definition that training, serving and export share."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fac_model.config import FrontEndConfig

_QUIETEST = 1e-20
"""Mel power of digital silence; far under one bit of 16-bit audio, far above float32's smallest."""
_LEAST_DEVIATION_DB = 1.0
"""A flatter image than this holds nothing; dividing by less would only amplify rounding."""


class LogMel(nn.Module):
    """Log-mel spectrogram, z-scored over each window.

    The power of each mel band is taken relative to the loudest point of the window and cut off ``top_db``
    below it; with the z-score that follows, the image does not depend on the level of the recording. Digital
    silence gives an image of zeros.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.config = config or FrontEndConfig()
        # Not persistent: these follow from the config, which the bundle stores.
        self.register_buffer("window", torch.hann_window(self.config.n_fft), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel_filters(self.config)), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """float32 ``[B, window_samples]`` to ``[B, 1, n_mels, frames]``."""
        power = self._power(wave) @ self.mel  # [B, frames, n_mels]
        loudest = power.amax(dim=(1, 2), keepdim=True).clamp(min=_QUIETEST)
        floor = 10.0 ** (-self.config.top_db / 10.0)
        decibels = 10.0 * torch.log10((power / loudest).clamp(min=floor)) + self.config.top_db
        centred = decibels - decibels.mean(dim=(1, 2), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
        return (centred / deviation.clamp(min=_LEAST_DEVIATION_DB)).transpose(1, 2).unsqueeze(1)

    def _power(self, wave: Tensor) -> Tensor:
        """``[B, window_samples]`` to the power of each bin, ``[B, frames, n_fft / 2 + 1]``."""
        padding = (self.config.padding, self.config.padding)
        padded = nn.functional.pad(wave.unsqueeze(1), padding, mode=self.config.padding_mode).squeeze(1)
        frames = padded.unfold(-1, self.config.n_fft, self.config.hop_length) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames))
        return spectrum.square().sum(dim=-1)


def mel_filters(config: FrontEndConfig) -> npt.NDArray[np.float32]:
    """Triangles of unit area, evenly spaced on Slaney's mel scale: ``[n_fft / 2 + 1, n_mels]``.

    Slaney's scale (Auditory Toolbox, 1998) is linear below 1 kHz; HTK's puts its lowest filters 14 Hz apart,
    closer than the 15.6 Hz between the bins of a 1024-point transform, and leaves some of 128 empty.
    """
    bins = np.linspace(0.0, config.sample_rate / 2, config.n_fft // 2 + 1)
    mels = np.linspace(_to_mel(config.f_min), _to_mel(config.f_max), config.n_mels + 2)
    edges: npt.NDArray[np.float64] = np.array([_to_hertz(mel) for mel in mels])
    rising = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    area = (edges[2:] - edges[:-2]) / 2
    triangles: npt.NDArray[np.float32] = (np.maximum(0.0, np.minimum(rising, falling)) / area).astype(
        np.float32
    )
    return triangles


_LINEAR_HERTZ = 200.0 / 3.0
_CORNER_HERTZ = 1_000.0
_CORNER_MEL = _CORNER_HERTZ / _LINEAR_HERTZ
_LOG_STEP = np.log(6.4) / 27.0


def _to_mel(hertz: float) -> float:
    if hertz < _CORNER_HERTZ:
        return hertz / _LINEAR_HERTZ
    return float(_CORNER_MEL + np.log(hertz / _CORNER_HERTZ) / _LOG_STEP)


def _to_hertz(mel: float) -> float:
    if mel < _CORNER_MEL:
        return mel * _LINEAR_HERTZ
    return float(_CORNER_HERTZ * np.exp((mel - _CORNER_MEL) * _LOG_STEP))
