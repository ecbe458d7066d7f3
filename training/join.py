"""One bundle of several: networks with front ends of their own hear the same window side by side.

What looks at sound in different ways errs on different voices, so the mean of the logits errs less than each
(Hansen and Salamon 1990, *Neural network ensembles*). It costs as much as all of them together.
"""

from collections.abc import Sequence
from pathlib import Path

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.config import MemberConfig
from fac_stream.errors import ConfigError
from training.dataset import Corpus
from training.finish import finish


def join(folders: Sequence[Path], data: Path, out: Path) -> Path:
    """Join, export, calibrate and fit the decision on dev; returns the new bundle's folder.

    Args:
        folders: bundles with the same outputs, two or more; the first gives the new one its name, version and
            facts of training.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the bundle's folder.

    Raises:
        BundleError: a folder is no bundle, or the new bundle cannot be written.
        ConfigError: there are fewer than two, or their outputs differ.
        ManifestError: the manifest cannot be used, or dev lacks a class.
    """
    bundles = [Bundle.load(folder) for folder in folders]
    first, *others = [bundle.manifest for bundle in bundles]
    if not others:
        raise ConfigError("a bundle of several networks is made of two bundles or more")
    for folder, manifest in zip(folders, (first, *others), strict=True):
        if manifest.beside:
            raise ConfigError(f"{folder} is of several networks itself; name the bundles that it was made of")
        if manifest.outputs != first.outputs:
            raise ConfigError(f"{folder} has other outputs than {folders[0]}")
    tensors = bundles[0].tensors()
    for number, bundle in enumerate(bundles[1:]):
        tensors |= {f"beside.{number}.{name}": value for name, value in bundle.tensors().items()}
    made = Bundle.save(
        out,
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
    return finish(made.path, Corpus.open(data))
