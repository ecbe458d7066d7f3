"""What a batch is made of: which clips side by side, cut where, through which channel.

Batch ``number`` of an epoch depends on the recipe's seed, the epoch and the number alone: any process can
make any of them, in any order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fac_stream.audio.frames import Samples
from fac_stream.errors import ConfigError
from training.augment import IMAGE, WAVE, Augmentation, Stripes, augmentations
from training.copies import CopyStore
from training.dataset import Corpus, Groups, cut, draw_human, draw_order, draw_pair, draw_start
from training.manifest import Label, ManifestError, Split
from training.pcm import Pcm
from training.recipe import Recipe

Floats = npt.NDArray[np.float32]
Chances = list[tuple[float, str, Augmentation[Any]]]
"""Probability, name and augmentation."""
CopyOf = Callable[[int, str, int], Pcm]
"""Clip number, engine and variant to the copy, int16 ``[n]``, aligned with its original."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows and what they are; plain arrays, so that they travel between processes."""

    waves: Samples
    """``[B, 32000]``."""
    synthetic: Floats
    """``[B]``, 1 where a machine speaks; without meaning where there is no speech."""
    speech: Floats
    """``[B]``, 1 where somebody or something speaks."""
    clips: npt.NDArray[np.int64]
    """``[B]``, the number of the training clip of either class that each is cut from; -1 of any other."""
    stripes: Floats
    """``[B, 2, S, 2]``: for frames and for bands of the image, S stripes to mask, each a place, as a share of
    the room there is, and a width; unused ones are 0 wide."""
    partner: npt.NDArray[np.int64]
    """``[B]``, the window that each is mixed with."""
    kept: Floats
    """``[B]``, how much of itself each keeps, from 0.5 to 1."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A clip and what is to be heard of it."""

    pcm: Pcm
    label: Label
    clip: int = -1
    """Its number among the training clips; -1 for a copy, or what is no speech."""


@dataclass(frozen=True, slots=True)
class Group:
    """Windows that belong together: a human and a fake, or one alone."""

    picks: tuple[Pick, ...]
    same_place: bool = False
    """A copy is cut where its original is."""
    same_channel: bool = False


class Mixture:
    """Makes the batches that a recipe asks for.

    Args:
        settings: the recipe.
        speech: both classes of split train, without what is held out.
        nonspeech: the recordings without speech of split train; noise comes from them too.
        copy_of: makes or finds copies; not called where the recipe asks for none.
    """

    def __init__(
        self, settings: Recipe, speech: Corpus, nonspeech: Corpus, copy_of: CopyOf | None = None
    ) -> None:
        self.settings = settings
        self.speech = speech
        self.nonspeech = nonspeech
        self.copy_of = copy_of

    @classmethod
    def of(cls, settings: Recipe, corpus: Corpus) -> "Mixture":
        """What the recipe takes of a corpus.

        Raises:
            ConfigError: the recipe asks for what the manifest does not have.
            ManifestError: split train lacks a class, or a source that is to be held out.
        """
        speech, _ = corpus.speech(Split.TRAIN).without(settings.holdout)
        if len({clip.label for clip in speech.clips}) < 2:
            raise ManifestError("what holdout leaves of split train needs clips of both classes")
        nonspeech = corpus.part(Split.TRAIN, Label.NONSPEECH)
        mixture = cls(settings, speech, nonspeech)
        missing = sorted(settings.augment.keys() - mixture.augmentations.keys())
        if settings.nonspeech and not nonspeech.clips:
            missing = ["nonspeech", *missing]
        if missing:
            raise ConfigError(
                f"the recipe asks for {', '.join(missing)}, but the manifest has no such nonspeech clips"
                " in split train"
            )
        engines = [engine for engine, share in settings.copies.items() if share]
        if engines:
            mixture.copy_of = CopyStore.of(speech.clips, speech.pcm, engines, settings.copy_variants)
        return mixture

    @cached_property
    def augmentations(self) -> dict[str, Augmentation[Any]]:
        """All that these recordings allow."""
        music = [number for kind, numbers in self._kinds.items() if "music" in kind for number in numbers]
        return augmentations(self.nonspeech.pcm, self.nonspeech.pcm.subset(music))

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        wanted = self.settings.windows_per_epoch
        if wanted is not None:
            return -(-wanted // self.settings.batch_size)
        return -(-len(self.speech.clips) // (self.settings.batch_size - self.unvoiced))

    @property
    def unvoiced(self) -> int:
        """Windows of a batch that hold no speech; an even number, so that pairs fit beside them."""
        return 2 * round(self.settings.nonspeech * self.settings.batch_size / 2)

    def batch(self, epoch: int, number: int) -> Batch:
        """The same for the same recipe and corpus, whoever asks and whenever."""
        rng = np.random.default_rng([self.settings.seed, epoch, number])
        windows = [
            window for group in self._groups(epoch, number, rng) for window in self._windows(group, rng)
        ]
        labels = [pick.label for pick, _, _ in windows]
        speech = np.array([label != Label.NONSPEECH for label in labels], np.float32)
        partner, kept = self._mix(speech, rng)
        return Batch(
            waves=np.stack([wave for _, wave, _ in windows]),
            synthetic=np.array([label == Label.FAKE for label in labels], np.float32),
            speech=speech,
            clips=np.array([pick.clip for pick, _, _ in windows], np.int64),
            stripes=pack([stripes for _, _, stripes in windows]),
            partner=partner,
            kept=kept,
        )

    def _mix(self, speech: Floats, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], Floats]:
        """Partners and weights: speech is mixed with speech only."""
        partner, kept = np.arange(len(speech)), np.ones(len(speech), np.float32)
        if self.settings.mixup:
            voiced = np.flatnonzero(speech)
            partner[voiced] = rng.permutation(voiced)
            weights = rng.beta(self.settings.mixup, self.settings.mixup, len(voiced))
            kept[voiced] = np.maximum(weights, 1.0 - weights)
        return partner, kept

    def _groups(self, epoch: int, number: int, rng: np.random.Generator) -> Iterator[Group]:
        if self.settings.sampling == "plain":
            for clip in np.array_split(self._order(epoch), self.batches)[number]:
                yield Group((self._pick(int(clip)),))
        else:
            for _ in range((self.settings.batch_size - self.unvoiced) // 2):
                yield self._pair(rng)
        kinds = list(self._kinds.values())
        for _ in range(self.unvoiced):
            kind = kinds[int(rng.integers(len(kinds)))]
            pcm = self.nonspeech.pcm[kind[int(rng.integers(len(kind)))]]
            yield Group((Pick(pcm, Label.NONSPEECH),))

    def _pair(self, rng: np.random.Generator) -> Group:
        settings = self.settings
        dice = float(rng.random())
        for engine, share in settings.copies.items():
            dice -= share
            if dice < 0.0:
                return self._copy_pair(draw_human(self._sources, rng), engine, rng)
        human, fake = draw_pair(self._sources, "uniform" if settings.sampling == "uniform" else "paired", rng)
        shared = bool(rng.random() < settings.shared_channel_pages)
        return Group((self._pick(human), self._pick(fake)), same_channel=shared)

    def _copy_pair(self, human: int, engine: str, rng: np.random.Generator) -> Group:
        if self.copy_of is None:
            raise RuntimeError("copies were asked for, and nothing makes them")
        copy = self.copy_of(human, engine, int(rng.integers(self.settings.copy_variants)))
        shared = bool(rng.random() < self.settings.shared_channel)
        return Group((self._pick(human), Pick(copy, Label.FAKE)), same_place=True, same_channel=shared)

    def _pick(self, number: int) -> Pick:
        return Pick(self.speech.pcm[number], self.speech.clips[number].label, number)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        count = self.batches * (self.settings.batch_size - self.unvoiced)
        if self.settings.windows_per_epoch is None:
            count = len(self.speech.clips)
        return draw_order(self.speech.clips, count, np.random.default_rng([self.settings.seed, epoch]))

    def _windows(
        self, group: Group, rng: np.random.Generator
    ) -> Iterator[tuple[Pick, Samples, dict[str, Stripes]]]:
        start, chain = -1, None
        for pick in group.picks:
            if start < 0 or not group.same_place:
                start = draw_start(pick.pcm, rng, on_speech=pick.label != Label.NONSPEECH)
            if chain is None or not group.same_channel:
                chain = self._draw(rng)
            wave, stripes = cut(pick.pcm, start), {}
            for name, augmentation, parameters in chain:
                if name in IMAGE:
                    stripes[name] = parameters
                else:
                    wave = augmentation.apply(wave, parameters)
            yield pick, wave, stripes

    def _draw(self, rng: np.random.Generator) -> list[tuple[str, Augmentation[Any], Any]]:
        return [
            (name, augmentation, augmentation.draw(rng))
            for chance, name, augmentation in self._chances
            if rng.random() < chance
        ]

    @cached_property
    def _chances(self) -> Chances:
        """In the order in which a sound passes them."""
        share, known = self.settings.augment, self.augmentations
        return [(share[name], name, known[name]) for name in (*WAVE, *IMAGE) if name in share]

    @cached_property
    def _sources(self) -> Groups:
        return Groups.of(self.speech.clips)

    @cached_property
    def _kinds(self) -> dict[str, list[int]]:
        kinds: dict[str, list[int]] = defaultdict(list)
        for number, clip in enumerate(self.nonspeech.clips):
            kinds[clip.kind].append(number)
        return kinds


def pack(rows: list[dict[str, Stripes]]) -> Floats:
    """What ``IMAGE`` masks in each row, see ``Batch.stripes``."""
    most = max((len(stripes.widths) for row in rows for stripes in row.values()), default=0)
    packed = np.zeros((len(rows), len(IMAGE), most, 2), np.float32)
    for number, row in enumerate(rows):
        for name, stripes in row.items():
            places = np.stack([stripes.starts, stripes.widths], axis=-1)
            packed[number, IMAGE.index(name), : len(places)] = places
    return packed
