"""One network from several of one lineage: the mean of their weights.

Networks that were trained on from each other lie in one basin, and the mean of their weights holds better on
data from elsewhere than the last of them, at no cost in use (Wortsman et al. 2022, *Model soups* and *Robust
fine-tuning of zero-shot models*).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_stream.errors import ConfigError
from training.checkpoint import Weights
from training.dataset import Corpus
from training.finish import finish


def average(folders: Sequence[Path], data: Path, out: Path) -> Path:
    """Average, export, calibrate and fit the decision on dev; returns the bundle's folder.

    Args:
        folders: bundles or runs of the same network and front end. The first bundle among them gives the new
            one its name, version, outputs and facts of training.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the bundle's folder.

    Raises:
        BundleError: a folder is neither bundle nor run, or the new bundle cannot be written.
        ConfigError: there are fewer than two, none is a bundle, or they are not of the same network.
        ManifestError: the manifest cannot be used, or dev lacks a class.
        FacError: the graph differs from torch, or the network ranks dev no better than chance.
    """
    parts = [Weights.of(folder) for folder in folders]
    bundles = [Bundle.load(folder) for folder in folders if not (folder / "checkpoint").is_dir()]
    if len(parts) < 2 or not bundles:
        raise ConfigError("an average needs two folders or more, one of them a bundle")
    first = parts[0]
    for folder, part in zip(folders, parts, strict=True):
        if (part.network, part.front_end) != (first.network, first.front_end):
            raise ConfigError(f"{folder}: has another network or front end than {folders[0]}")
    known = bundles[0].manifest
    tensors = {name: tensor.numpy() for name, tensor in _mean([part.tensors for part in parts]).items()}

    def save(folder: Path) -> Bundle:
        return Bundle.save(
            folder,
            name=known.name,
            version=known.version,
            front_end=first.front_end,
            network=first.network,
            outputs=known.outputs,
            calibration=Calibration(),
            tensors=tensors,
            training={**known.training, "average_of": [part.name for part in parts]},
        )

    return finish(save, out, Corpus.open(data))


def _mean(parts: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Of every weight and statistic; counts, which are no numbers to average, are the first one's."""
    return {
        name: torch.stack([part[name] for part in parts]).mean(dim=0) if value.is_floating_point() else value
        for name, value in parts[0].items()
    }
