"""Hints: beside its task a network learns to guess what a larger, pretrained one notes of a clip.

What a network has learnt from far more speech than a corpus of fakes holds (quality, naturalness, channel)
tells unseen generators apart better than the corpus alone. FitNets (Romero et al. 2015) train a small
network's inner layer to answer like a large one's; here its pooled statistics are to suffice for a linear
guess. The large one is not needed in use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

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
"""``embedder(samples float32 [n], 16000)`` gets a whole clip and gives what the large network notes of it,
float ``[D]``."""
Row = npt.NDArray[np.float16]
NUMBERS_AT_MOST = 65_536
"""In one clip's notes."""
AT_ONCE = 1000
"""Clips that a kill costs at most."""
OVERSAMPLED = 10
"""Components that are computed beyond those that are wanted: the randomised ones are then exact."""


def embed(data: Path, place: str, out: Path) -> int:
    """Ask a pretrained network about every training clip of both classes; returns how many are new.

    What the file has already is kept: an embedding that was stopped goes on, and a corpus that grew is
    completed.

    Args:
        data: a manifest, or its folder.
        place: ``module:function``, see ``Embedder``.
        out: the file for ``Hints.of``, npz.

    Raises:
        ConfigError: there is no such function, or the file is none of ours.
        ManifestError, AudioError: a clip cannot be used.
        FacError: there are no such clips, or an answer is not the same count of finite numbers as the others.
    """
    embedder: Embedder = imported(place, "--by")
    clips = [
        clip
        for clip in read_manifest(data)
        if clip.split == Split.TRAIN and clip.label in (Label.REAL, Label.FAKE)
    ]
    if not clips:
        raise FacError(f"{data} has no clips of either class in split train")
    known, by = _read(out) if out.exists() else ({}, place)
    if by != place:
        raise ConfigError(f"{out} has the notes of {by}; choose another file for those of {place}")
    out.parent.mkdir(parents=True, exist_ok=True)
    missing = [clip for clip in clips if clip.name not in known]
    for number, clip in enumerate(track(missing, "embed", console=Console(stderr=True)), 1):
        known[clip.name] = _notes(embedder, clip, place, like=next(iter(known.values()), None))
        if number % AT_ONCE == 0 or number == len(missing):
            _write(out, known, place)
    return len(missing)


@dataclass(frozen=True)
class Hints:
    """What there is to guess."""

    table: Tensor
    """``[clips + 1, H]``; NaN where nothing is known, and in the last row, which stands for no clip."""
    by: str = ""
    """Whose they are, and of how many clips."""

    @classmethod
    def of(cls, file: Path | None, clips: Sequence[Clip], count: int) -> "Hints":
        """The first principal components of a file's rows, each of variance 1.

        Args:
            file: what ``embed`` wrote; clips that it does not name have no hints.
            clips: which the network is trained on.
            count: components; 0 without a file.

        Raises:
            ConfigError: file and count do not suit each other, or the file cannot be read, names fewer than
                two of the clips a component, or tells fewer different things of them.
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
        known, by = _read(file)
        numbers = [number for number, clip in enumerate(clips) if clip.name in known]
        if len(numbers) < 2 * count:
            raise ConfigError(
                f"{file} names {len(numbers)} of the {len(clips)} clips: {count} hints need more"
            )
        rows = np.stack([known[clips[number].name] for number in numbers])
        found = _components(rows, count)
        if found is None:
            raise ConfigError(
                f"{file} tells fewer than {count} different things of a clip: ask for less hints"
            )
        table[numbers] = found
        return cls(table, f"{by}, {len(rows)} of {len(clips)} clips")

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


def _notes(embedder: Embedder, clip: Clip, place: str, *, like: Row | None) -> Row:
    """One clip's row, checked."""
    row = np.asarray(embedder(decode(clip.path), SAMPLE_RATE), np.float16)
    if row.ndim != 1 or not 0 < len(row) <= NUMBERS_AT_MOST or (like is not None and len(row) != len(like)):
        raise FacError(
            f"{clip.name}: {place} gave an array of shape {row.shape}; it must give as many numbers of"
            f" every clip, at most {NUMBERS_AT_MOST}, in one row"
        )
    if not np.isfinite(row).all():
        raise FacError(f"{clip.name}: {place} gave numbers that are not finite in 16 bits")
    return row


def _write(file: Path, known: dict[str, Row], by: str) -> None:
    """Beside, then moved into place: a kill leaves the file as it was."""
    unfinished = file.with_name(f"{file.name}.part")
    with unfinished.open("wb") as parts:
        np.savez(parts, names=np.array(list(known)), rows=np.stack(list(known.values())), by=np.array(by))
    unfinished.replace(file)


def _read(file: Path) -> tuple[dict[str, Row], str]:
    """Rows by the clip's name, and whose they are."""
    try:
        # numpy leaves a file open that it opened itself and finds damaged.
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as parts:
            names, rows, by = parts["names"], parts["rows"], str(parts["by"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise ConfigError(f"{file}: not a file that fac corpus embed made: {error}") from error
    if (names.ndim, rows.ndim, len(names)) != (1, 2, len(rows)) or rows.dtype != np.float16:
        raise ConfigError(f"{file}: not a file that fac corpus embed made: its names and rows do not fit")
    if not 0 < rows.shape[1] <= NUMBERS_AT_MOST or not np.isfinite(rows).all():
        raise ConfigError(f"{file}: its rows are too long, or not finite")
    return dict(zip(names.tolist(), rows, strict=True)), by


def _components(rows: Row, count: int) -> Tensor | None:
    """``[N, D]`` to ``[N, count]``, None if the rank is lower. Randomised (Halko et al. 2011), one seed."""
    if rows.shape[1] < count:
        return None
    values = torch.from_numpy(rows.astype(np.float32))
    values -= values.mean(dim=0)
    values /= values.std(dim=0) + 1e-6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = min(count + OVERSAMPLED, *values.shape)
        _, sizes, axes = torch.pca_lowrank(values, q=size, center=False, niter=4)
    if sizes[count - 1] <= 1e-3 * sizes[0]:
        return None
    found = values @ axes[:, :count]
    return found / found.std(dim=0)
