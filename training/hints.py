"""Hints: beside its task a network learns to guess what a larger, pretrained one notes of a clip.

What a network has learnt from far more speech than a corpus of fakes holds (quality, naturalness, channel)
tells unseen generators apart better than the corpus alone. FitNets (Romero et al. 2015) train a small
network's inner layer to answer like a large one's; here its pooled statistics are to suffice for a linear
guess. The large one is not needed in use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import mse_loss

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from fac_stream.errors import ConfigError, FacError
from training.manifest import Clip, Label, Split, read_manifest
from training.pcm import decode
from training.plugin import imported

Embedder = Callable[[Samples, int], npt.ArrayLike]
"""``embedder(samples float32 [n], 16000)`` gives what the large network notes, float ``[D]``."""
NUMBERS_AT_MOST = 65_536
"""In one clip's embedding."""


def embed(data: Path, place: str, out: Path) -> int:
    """Ask a pretrained network about every training clip of both classes; returns how many there were.

    Args:
        data: a manifest, or its folder.
        place: ``module:function``, see ``Embedder``.
        out: the file for ``Hints.of``, npz.

    Raises:
        ConfigError: there is no such function.
        ManifestError, AudioError: a clip cannot be used.
        FacError: there are no such clips, or an answer is not the same count of finite numbers as the first.
    """
    embedder: Embedder = imported(place, "--by")
    clips = [
        clip
        for clip in read_manifest(data)
        if clip.split == Split.TRAIN and clip.label in (Label.REAL, Label.FAKE)
    ]
    if not clips:
        raise FacError(f"{data} has no clips of either class in split train")
    rows: list[npt.NDArray[np.float16]] = []
    for clip in track(clips, "embed", console=Console(stderr=True)):
        row = np.asarray(embedder(decode(clip.path), SAMPLE_RATE), np.float16)
        if row.ndim != 1 or not 0 < len(row) <= NUMBERS_AT_MOST or (rows and len(row) != len(rows[0])):
            raise FacError(
                f"{clip.name}: {place} gave an array of shape {row.shape}; it must give as many numbers of"
                f" every clip, at most {NUMBERS_AT_MOST}, in one row"
            )
        if not np.isfinite(row).all():
            raise FacError(f"{clip.name}: {place} gave numbers that are not finite in 16 bits")
        rows.append(row)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("wb") as file:
        np.savez(file, names=np.array([clip.name for clip in clips]), rows=np.stack(rows), by=np.array(place))
    return len(clips)


@dataclass(frozen=True)
class Hints:
    """What there is to guess."""

    table: Tensor
    """``[clips + 1, H]``; NaN where nothing is known, and in the last row, which stands for no clip."""
    by: str = ""
    """Whose they are."""

    @classmethod
    def of(cls, file: Path | None, clips: Sequence[Clip], count: int) -> "Hints":
        """The first principal components of a file's rows, each of variance 1.

        Args:
            file: what ``embed`` wrote; clips that it does not name have no hints.
            clips: which the network is trained on.
            count: components; 0 without a file.

        Raises:
            ConfigError: file and count do not suit each other, or the file cannot be read, has fewer columns
                than components, or names too few of the clips.
        """
        if bool(file) != bool(count):
            raise ConfigError(
                "the recipe asks for no hints: set hints, or leave --hints out"
                if file
                else f"the recipe asks for {count} hints: make them with fac corpus embed, give --hints FILE"
            )
        table = torch.full((len(clips) + 1, count), torch.nan)
        if file is None:
            return cls(table)
        try:
            with np.load(file, allow_pickle=False) as parts:
                names, rows, by = parts["names"], parts["rows"], str(parts["by"])
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{file}: not a file that fac corpus embed made: {error}") from error
        known = dict(zip(names.tolist(), rows, strict=True))
        numbers = [number for number, clip in enumerate(clips) if clip.name in known]
        if min(len(numbers), rows.shape[1]) < 2 * count:
            raise ConfigError(
                f"{file} has {rows.shape[1]} numbers of {len(numbers)} of the {len(clips)} clips: too few for"
                f" {count} hints"
            )
        table[numbers] = _components(np.stack([known[clips[number].name] for number in numbers]), count)
        return cls(table, by)

    def look_up(self, clips: Tensor) -> Tensor:
        """``[B]`` numbers of clips, -1 for none, to ``[B, H]``."""
        return self.table[clips]


def hint_loss(guesses: Tensor, hints: Tensor) -> Tensor:
    """Mean squared error where there are hints; 1 is what guessing always the mean would get.

    Args:
        guesses: ``[B, H]``.
        hints: ``[B, H]``, NaN where there is none.
    """
    known = ~hints.isnan()
    if not known.any():
        return guesses.new_zeros(())
    return mse_loss(guesses[known], hints[known])


def _components(rows: npt.NDArray[np.float16], count: int) -> Tensor:
    """``[N, D]`` to ``[N, count]``; randomised (Halko et al. 2011), and always the same."""
    values = torch.from_numpy(rows.astype(np.float32))
    values = (values - values.mean(dim=0)) / (values.std(dim=0) + 1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, axes = torch.pca_lowrank(values, q=count, center=False, niter=4)
    found = values @ axes
    return found / (found.std(dim=0) + 1e-6)
