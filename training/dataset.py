"""Two-second crops and the order in which they are seen."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.manifest import Clip, Label, ManifestError, Split, read_manifest
from training.pcm import FRAME, WINDOW, Pcm, PcmCache, active_frames, to_float

Item = TypeVar("Item")


def draw_start(pcm: Pcm, rng: np.random.Generator, *, on_speech: bool = True) -> int:
    """Where a window of two seconds begins, for ``cut``.

    Args:
        pcm: the clip.
        rng: the dice.
        on_speech: only among those with nearly the most speech in the clip.
    """
    if len(pcm) <= WINDOW:
        return int(rng.integers(len(pcm)))
    if not on_speech:
        return int(rng.integers(len(pcm) - WINDOW + 1))
    starts = np.arange(0, len(pcm) - WINDOW + 1, FRAME)
    counts = np.concatenate([[0], np.cumsum(active_frames(pcm))])
    speech = counts[starts // FRAME + WINDOW // FRAME] - counts[starts // FRAME]
    start = int(rng.choice(starts[speech >= 0.9 * speech.max()]))
    return min(start + int(rng.integers(FRAME)), len(pcm) - WINDOW)


def cut(pcm: Pcm, start: int) -> Samples:
    """Two seconds from a sample on, float32 ``[32000]``.

    A shorter clip is repeated, beginning at that sample: a join at a fixed place would be learnt.
    """
    if len(pcm) <= WINDOW:
        return to_float(np.resize(np.roll(pcm, -start), WINDOW))
    return to_float(pcm[start : start + WINDOW])


def windows(pcm: Pcm, limit: int) -> Samples:
    """Fixed windows with at least half a second of speech, float32 ``[1..limit, 32000]``, evenly chosen.

    One begins every second. A clip with too little speech gives its best window, and a short one is repeated:
    every clip gets a score.
    """
    if len(pcm) <= WINDOW:
        return to_float(np.resize(pcm, WINDOW))[None]
    starts = np.unique(np.append(np.arange(0, len(pcm) - WINDOW, SAMPLE_RATE), len(pcm) - WINDOW))
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
        return self._chosen(kept)

    def speech(self, split: Split) -> "Corpus":
        """Both classes of one split.

        Raises:
            ManifestError: one is missing.
        """
        part = self.part(split, Label.REAL, Label.FAKE)
        if len({clip.label for clip in part.clips}) < 2:
            raise ManifestError(f"split {split} needs clips of both classes, real and fake")
        return part

    def without(self, sources: Collection[str]) -> tuple["Corpus", "Corpus"]:
        """The rest, and the clips of those sources; copies of their humans are in neither.

        Raises:
            ManifestError: a source has no clips.
        """
        unknown = set(sources) - {clip.source for clip in self.clips}
        if unknown:
            raise ManifestError(f"no clips to hold out in split train from: {', '.join(sorted(unknown))}")
        held = [i for i, clip in enumerate(self.clips) if clip.source in sources]
        names = {self.clips[i].name for i in held}
        kept = [
            i
            for i, clip in enumerate(self.clips)
            if clip.source not in sources and not (clip.original and clip.original in names)
        ]
        return self._chosen(kept), self._chosen(held)

    def thinned(self, most: int) -> "Corpus":
        """At most so many clips, evenly taken."""
        if len(self.clips) <= most:
            return self
        return self._chosen(np.linspace(0, len(self.clips) - 1, most).round().astype(int).tolist())

    def _chosen(self, numbers: Sequence[int]) -> "Corpus":
        return Corpus([self.clips[i] for i in numbers], self.pcm.subset(numbers))

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
    original: dict[int, int]
    """The human clip of which a synthetic one is a copy."""

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
        original = {
            number: names[clip.original]
            for number, clip in enumerate(clips)
            if clip.label == Label.FAKE and clip.original in names
        }
        return cls(dict(real), {source: dict(makers) for source, makers in fake.items()}, original)

    @cached_property
    def real_shares(self) -> npt.NDArray[np.float64]:
        """How often each human source is drawn for itself."""
        return _shares([len(numbers) for numbers in self.real.values()])

    @cached_property
    def fake_shares(self) -> npt.NDArray[np.float64]:
        """How often each source of fakes is drawn."""
        return _shares([sum(map(len, makers.values())) for makers in self.fake.values()])


def _shares(sizes: Sequence[int]) -> npt.NDArray[np.float64]:
    """By the square root of the size.

    It stands between "every clip alike", which hears the big sources only, and "every source alike", which
    learns the small ones by heart.
    """
    weights = np.sqrt(sizes)
    return np.asarray(weights / weights.sum())


def draw_order(clips: Sequence[Clip], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Numbers of clips, ``[count]``, for sampling ``plain``: every clip of both classes before any again."""
    numbers = np.array([i for i, clip in enumerate(clips) if clip.label in (Label.REAL, Label.FAKE)])
    rounds = [rng.permutation(numbers) for _ in range(-(-count // len(numbers)))]
    return np.concatenate(rounds)[:count]


def draw_pair(
    groups: Groups, sampling: Literal["uniform", "paired"], rng: np.random.Generator
) -> tuple[int, int]:
    """Numbers of a human and a synthetic clip.

    ``uniform``: each for itself; source, then generator, then clip, each uniformly.
    ``paired``: a copy with its original, a page's fake with a human of the same page, and where a source has
    only fakes, with any human source. What tells two pages apart (microphone, level, web codec, language)
    then says nothing about the class.
    """
    if sampling == "uniform":
        makers = _one(list(groups.fake.values()), rng)
        return _one(_one(list(groups.real.values()), rng), rng), _one(_one(list(makers.values()), rng), rng)
    source = list(groups.fake)[rng.choice(len(groups.fake), p=groups.fake_shares)]
    fake = _one(_one(list(groups.fake[source].values()), rng), rng)
    if fake in groups.original:
        return groups.original[fake], fake
    return _one(groups.real[source], rng) if source in groups.real else draw_human(groups, rng), fake


def draw_human(groups: Groups, rng: np.random.Generator) -> int:
    """A human clip's number: source by the square root of its size, then clip."""
    source = list(groups.real)[rng.choice(len(groups.real), p=groups.real_shares)]
    return _one(groups.real[source], rng)


def _one(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]
