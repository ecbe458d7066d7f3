"""Two-second crops and the order in which they are seen."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.manifest import Clip, Label, ManifestError, Split, read_manifest
from training.pcm import FRAME, WINDOW, Pcm, PcmCache, active_frames, to_float

Sampling = Literal["plain", "uniform", "paired"]
Item = TypeVar("Item")


def crop(pcm: Pcm, rng: np.random.Generator) -> Samples:
    """Two seconds, chosen among those with nearly the most speech in the clip, float32 ``[32000]``.

    A shorter clip is repeated, from a random sample on: a join at a fixed place would be learnt.
    """
    if len(pcm) <= WINDOW:
        return to_float(np.resize(np.roll(pcm, -int(rng.integers(len(pcm)))), WINDOW))
    starts = np.arange(0, len(pcm) - WINDOW + 1, FRAME)
    counts = np.concatenate([[0], np.cumsum(active_frames(pcm))])
    speech = counts[starts // FRAME + WINDOW // FRAME] - counts[starts // FRAME]
    start = int(rng.choice(starts[speech >= 0.9 * speech.max()]))
    start = min(start + int(rng.integers(FRAME)), len(pcm) - WINDOW)
    return to_float(pcm[start : start + WINDOW])


def windows(pcm: Pcm, limit: int, hop_s: float = 1.0) -> Samples:
    """Fixed windows with at least half a second of speech, float32 ``[1..limit, 32000]``, evenly chosen.

    A clip with too little speech gives its best window, and a short one is repeated: every clip gets a score.
    """
    if len(pcm) <= WINDOW:
        return to_float(np.resize(pcm, WINDOW))[None]
    hop = round(hop_s * SAMPLE_RATE)
    starts = np.unique(np.append(np.arange(0, len(pcm) - WINDOW, hop), len(pcm) - WINDOW))
    counts = np.concatenate([[0], np.cumsum(active_frames(pcm))])
    speech = counts[(starts + WINDOW) // FRAME] - counts[starts // FRAME]
    kept = starts[speech >= min(0.5 * SAMPLE_RATE / FRAME, speech.max())]
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(limit, len(kept))).round().astype(int))]
    return to_float(np.stack([pcm[start : start + WINDOW] for start in kept]))


@dataclass(frozen=True)
class Corpus:
    """Clips and their decoded speech, number by number."""

    clips: list[Clip]
    pcm: PcmCache

    @classmethod
    def open(cls, data: Path) -> "Corpus":
        """Read the manifest and decode what was never decoded before.

        Raises:
            ManifestError: the manifest cannot be used.
            AudioError: a clip cannot be used.
        """
        clips = read_manifest(data)
        return cls(clips, PcmCache.of(clips))

    def part(self, split: Split, *labels: Label) -> "Corpus":
        """The clips of one split with one of the labels; may be empty."""
        kept = [i for i, clip in enumerate(self.clips) if clip.split == split and clip.label in labels]
        return Corpus([self.clips[i] for i in kept], self.pcm.subset(kept))

    def speech(self, split: Split) -> "Corpus":
        """Both classes of one split.

        Raises:
            ManifestError: one is missing.
        """
        part = self.part(split, Label.REAL, Label.FAKE)
        if len({clip.label for clip in part.clips}) < 2:
            raise ManifestError(f"split {split} needs clips of both classes, real and fake")
        return part

    def hours(self, label: Label) -> float:
        """Hours of speech of one label."""
        chosen = [clip.label == label for clip in self.clips]
        return float(self.pcm.duration_s[chosen].sum() / 3600)


@dataclass(frozen=True)
class Groups:
    """Clip numbers by source, human and synthetic."""

    real: dict[str, list[int]]
    fake: dict[str, dict[str, list[int]]]
    """By source, then by generator."""
    by_name: dict[str, int]

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> "Groups":
        """Sort the clips of both classes; others are left out."""
        real: dict[str, list[int]] = defaultdict(list)
        fake: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, clip in enumerate(clips):
            if clip.label == Label.REAL:
                real[clip.source].append(number)
            elif clip.label == Label.FAKE:
                fake[clip.source][clip.generator].append(number)
        names = {clip.name: number for number, clip in enumerate(clips) if clip.label == Label.REAL}
        return cls(dict(real), {source: dict(makers) for source, makers in fake.items()}, names)


def draw_order(
    clips: Sequence[Clip], sampling: Sampling, count: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Numbers of the clips of one epoch, ``[count]``.

    ``plain``: every clip of both classes as often as any other.
    ``uniform``: class, then source, then generator, then clip, each uniformly; classes alternate.
    ``paired``: human and synthetic alternate, and stand side by side: a copy with its original, a page's fake
    with a human of the same page, and where a source has only fakes, with any human source. What tells two
    pages apart (microphone, level, web codec, language) then says nothing about the class.
    """
    groups = Groups.of(clips)
    if sampling == "plain":
        numbers = np.array([i for i, clip in enumerate(clips) if clip.label in (Label.REAL, Label.FAKE)])
        rounds = [rng.permutation(numbers) for _ in range(-(-count // len(numbers)))]
        return np.concatenate(rounds)[:count]
    draw = _pair if sampling == "paired" else _unrelated
    pairs = [draw(clips, groups, rng) for _ in range(-(-count // 2))]
    return np.array(pairs, np.int64).reshape(-1)[:count]


def _unrelated(clips: Sequence[Clip], groups: Groups, rng: np.random.Generator) -> tuple[int, int]:
    del clips
    fakes = _one(list(groups.fake.values()), rng)
    return _one(_one(list(groups.real.values()), rng), rng), _one(_one(list(fakes.values()), rng), rng)


def _pair(clips: Sequence[Clip], groups: Groups, rng: np.random.Generator) -> tuple[int, int]:
    source = _source({name: sum(map(len, makers.values())) for name, makers in groups.fake.items()}, rng)
    fake = _one(_one(list(groups.fake[source].values()), rng), rng)
    original = groups.by_name.get(clips[fake].original)
    if original is not None:
        return original, fake
    if source not in groups.real:
        source = _source({name: len(numbers) for name, numbers in groups.real.items()}, rng)
    return _one(groups.real[source], rng), fake


def _source(sizes: dict[str, int], rng: np.random.Generator) -> str:
    """By the square root of the size.

    It stands between "every clip alike", which hears the big sources only, and "every source alike", which
    learns the small ones by heart.
    """
    weights = np.sqrt(list(sizes.values()))
    return list(sizes)[rng.choice(len(sizes), p=weights / weights.sum())]


def _one(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]
