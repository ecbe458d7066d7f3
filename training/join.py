"""One bundle of several: networks with front ends of their own hear the same window side by side.

What looks at sound in different ways errs on different voices, so the mean of the logits errs less than each
(Hansen and Salamon 1990, *Neural network ensembles*). It costs as much as all of them together. Logits are
averaged as they are: of networks that were trained alike they have like scales; of others, the one with the
larger logits has more to say.
"""

from collections.abc import Sequence
from pathlib import Path

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.config import MemberConfig
from fac_stream.errors import ConfigError
from training.dataset import Corpus
from training.finish import finish

MOST = 8
"""Bundles in one; a window costs as much as in all of them."""


def join(folders: Sequence[Path], data: Path, out: Path) -> Path:
    """Join, export, calibrate and fit the decision on dev; returns the new bundle's folder.

    Args:
        folders: bundles with the same outputs, two or more; the first gives the new one its name, version and
            facts of training.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the bundle's folder.

    Raises:
        BundleError: a folder is no bundle, or the new bundle cannot be written.
        ConfigError: there are too few or too many, one is named twice or of several networks itself, or their
            outputs differ.
        ManifestError: the manifest cannot be used, or dev lacks a class.
        FacError: the graph differs from torch, or the networks rank dev no better than chance.
    """
    bundles = [Bundle.load(folder) for folder in folders]
    _check(folders, bundles)
    first, *others = [bundle.manifest for bundle in bundles]
    tensors = bundles[0].tensors()
    for number, bundle in enumerate(bundles[1:]):
        tensors |= {f"beside.{number}.{name}": value for name, value in bundle.tensors().items()}

    def save(folder: Path) -> Bundle:
        return Bundle.save(
            folder,
            name=first.name,
            version=first.version,
            front_end=first.front_end,
            network=first.network,
            beside=[MemberConfig(front_end=part.front_end, network=part.network) for part in others],
            outputs=first.outputs,
            calibration=Calibration(),
            tensors=tensors,
            training={
                **first.training,
                "joined_of": [bundle.model_id for bundle in bundles],
                "joined_with": [part.training for part in others],
            },
        )

    return finish(save, out, Corpus.open(data))


def _check(folders: Sequence[Path], bundles: Sequence[Bundle]) -> None:
    if not 2 <= len(bundles) <= MOST:
        raise ConfigError(f"a bundle of several networks is made of two to {MOST} bundles")
    if len({bundle.model_id for bundle in bundles}) < len(bundles):
        raise ConfigError("the same bundle is named twice: it would cost twice and change nothing")
    for folder, bundle in zip(folders, bundles, strict=True):
        if bundle.manifest.beside:
            raise ConfigError(f"{folder} is of several networks itself; name the bundles that it was made of")
        if bundle.manifest.outputs != bundles[0].manifest.outputs:
            raise ConfigError(f"{folder} has other outputs than {folders[0]}")
