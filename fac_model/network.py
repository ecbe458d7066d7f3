"""The registry of networks: log-spectrogram in, logits out.

Every network gives logits ``[B, outputs]``: synthetic speech first, speech of any kind second if there are
two; positive means yes.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from fac_model.config import NetworkConfig


class SpectrogramCNN(nn.Module):
    """The predecessor's network: four blocks of 3x3 convolution, 421,825 parameters.

    ::

        [B, 1, 128, 200] -> 32 -> pool -> 64 -> pool -> 128 -> pool -> 256 -> mean -> 128 -> outputs
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden: int = 128,
        dropout: float = 0.3,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip((1, *widths), widths, strict=False):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.BatchNorm2d(fan_out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        layers[-1] = nn.AdaptiveAvgPool2d(1)
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, image: Tensor) -> Tensor:
        """``[B, 1, bands, frames]`` to logits ``[B, outputs]``."""
        logits: Tensor = self.head(self.blocks(image))
        return logits


class TextureCNN(nn.Module):
    """Judges texture: fine structure is read at full resolution, and where it stood is forgotten.

    ::

        [B, 1, 128, 200] -> beside it, each band without its mean -> 16 -> pool -> 32 -> pool -> 64 -> pool
            -> 128 -> mean and deviation over the image -> dropout -> outputs

    A generator's traces are a few bands and frames wide; a first layer that skips every other row and column
    loses them. The deviation over the image says how uneven a texture is, which its mean does not: statistics
    pooling, as for voices of speakers (Snyder et al., 2018).

    Args:
        widths: maps after each convolution.
        pools: after how many of them, from the first, the image is halved.
        dropout: share of the statistics that training hides.
        outputs: 1, or 2 with the speech output.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64, 128),
        pools: int = 3,
        dropout: float = 0.3,
        outputs: int = 2,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (fan_in, fan_out) in enumerate(zip((2, *widths), widths, strict=False)):
            # The batch norm that follows has its own bias.
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)]
            # Pooled first, norm and rectifier cost a quarter: a third of a training step's time.
            layers += [nn.MaxPool2d(2)] if number < pools else []
            layers += [nn.BatchNorm2d(fan_out), nn.ReLU()]
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * widths[-1], outputs))

    def forward(self, image: Tensor) -> Tensor:
        """``[B, 1, bands, frames]`` to logits ``[B, outputs]``."""
        texture = self.blocks(torch.cat([image, without_colour(image)], dim=1)).float()
        mean = texture.mean(dim=(2, 3))
        # Where a map is zero throughout, the root of its variance would have no gradient.
        deviation = (texture.var(dim=(2, 3), unbiased=False) + 1e-5).sqrt()
        logits: Tensor = self.head(torch.cat([mean, deviation], dim=1))
        return logits


def without_colour(image: Tensor) -> Tensor:
    """Each band of ``[B, 1, bands, frames]`` minus its mean over time, the whole at deviation 1.

    On a logarithmic spectrum this is cepstral mean subtraction (Atal 1974): any fixed filter falls out.
    """
    flat = image - image.mean(dim=3, keepdim=True)
    power = flat.square().mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
    return flat / power.sqrt().clamp(min=_LEAST_DEVIATION)


_LEAST_DEVIATION = 0.05
"""A flatter image holds nothing; dividing by less would only amplify rounding."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "spectrogram_cnn": SpectrogramCNN,
    "texture_cnn": TextureCNN,
}


def build(config: NetworkConfig) -> nn.Module:
    """A network with fresh weights.

    Raises:
        ValueError: no network has that name, or it does not take those settings.
    """
    maker = _maker(config)
    try:
        return maker(**config.settings)
    except (TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"network {config.name!r} does not take {config.settings}: {error}") from error


def outputs_of(config: NetworkConfig) -> int:
    """How many logits it gives of a window.

    Raises:
        ValueError: no network has that name, or ``outputs`` is no count.
    """
    default = signature(_maker(config)).parameters["outputs"].default
    outputs = config.settings.get("outputs", default)
    if not isinstance(outputs, int):
        raise ValueError(f"network {config.name!r}: outputs is {outputs!r}, which is no count")  # noqa: TRY004
    return outputs


def _maker(config: NetworkConfig) -> Callable[..., nn.Module]:
    if config.name not in NETWORKS:
        raise ValueError(f"no network is called {config.name!r}; there are: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[config.name]


def weights_of(network: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Parameters and buffers as arrays, the way a bundle stores them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
