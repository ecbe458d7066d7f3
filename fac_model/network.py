"""The registry of networks: log-mel image in, logits out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
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
        """``[B, 1, bands, frames]`` to logits ``[B, outputs]``: synthetic, then speech if there are two."""
        logits: Tensor = self.head(self.blocks(image))
        return logits


NETWORKS: dict[str, Callable[..., nn.Module]] = {"spectrogram_cnn": SpectrogramCNN}


def build(config: NetworkConfig) -> nn.Module:
    """A network with fresh weights.

    Raises:
        ValueError: no network has that name, or it does not take those settings.
    """
    if config.name not in NETWORKS:
        raise ValueError(f"no network is called {config.name!r}; there are: {', '.join(sorted(NETWORKS))}")
    try:
        return NETWORKS[config.name](**config.settings)
    except (TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"network {config.name!r} does not take {config.settings}: {error}") from error


def weights_of(network: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Parameters and buffers as arrays, the way a bundle stores them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
