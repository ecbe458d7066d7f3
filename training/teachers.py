"""Knowledge distillation (Hinton et al. 2015): a window's label is partly what trained networks say of it.

Networks that err differently are better together than each alone. One network that learns their common answer
keeps most of that at the cost of one.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fac_stream.errors import ConfigError
from training.checkpoint import Weights, restricted
from training.judge import forward
from training.recipe import Recipe


class Teachers:
    """Networks whose mean logit gives a share of every label; without any, labels stay what they are.

    Args:
        folders: bundles, or runs, with the recipe's front end.
        settings: the share, and the precision.
        device: where they answer.

    Raises:
        BundleError: a folder is neither.
        ConfigError: a run's checkpoint cannot be read, a teacher hears through another front end, or there
            are teachers without a share, or a share without teachers.
    """

    def __init__(self, folders: Sequence[Path], settings: Recipe, device: torch.device) -> None:
        if bool(folders) != bool(settings.taught):
            raise ConfigError(
                "the recipe sets no share for teachers: set taught, or leave --teacher out"
                if folders
                else f"{settings.taught:g} of each label is a teacher's by the recipe: name one by --teacher"
            )
        self._settings = settings
        found = [Weights.of(folder) for folder in folders]
        for folder, weights in zip(folders, found, strict=True):
            if weights.front_end != settings.front_end_config:
                raise ConfigError(f"{folder}: has another front end than the recipe")
        self.names = [weights.name for weights in found]
        self._networks = [restricted(part.tensors, part.network).to(device) for part in found]

    def label(self, images: Tensor, synthetic: Tensor) -> Tensor:
        """What the network is to answer, 0 to 1, ``[B]``. To be called without gradients.

        Args:
            images: ``[B, channels, bands, frames]``, not yet masked.
            synthetic: the labels, ``[B]``.
        """
        if not self._networks:
            return synthetic
        precision, share = self._settings.precision, self._settings.taught
        logits = torch.stack([forward(network, images, precision)[:, 0] for network in self._networks])
        return (1.0 - share) * synthetic + share * torch.sigmoid(logits.mean(dim=0))
