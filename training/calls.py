"""Calls made of clips that were heard once: human voices, synthetic ones, one after or beside the other.

A round uses every clip at most once, in an order that is drawn; further rounds draw other orders. They smooth
a figure and add no data to it, so intervals are drawn over sources and generators, never over calls.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np

from fac_model.decision import Profile
from fac_stream.calls.decision import LegDecision, Thresholds
from fac_stream.events import Decision, SkipReason
from training.manifest import Label
from training.utterances import Floats, Utterance

HUMAN_S = 180.0
SYNTHETIC_S = 60.0
BEFORE_S = 60.0
"""Of a human voice, before it turns synthetic."""
ROUNDING_S = 1e-6
PROFILES: dict[Profile, tuple[str, ...]] = {
    "wideband": ("wideband",),
    "telephone": ("g711",),
    "mixed": ("wideband", "g711"),
}
"""In which conditions the calls of a profile are heard."""


@dataclass(frozen=True)
class Call:
    """One leg: ``first`` seconds of audio are human, from there on there is a synthetic voice."""

    parts: tuple[Utterance, ...]
    maker: str
    """Whom a bootstrap draws whole: the source and generator of the voice that is looked for."""
    first: float = np.inf

    @property
    def windows(self) -> Iterator[tuple[float, float, float, float]]:
        """Start and end in seconds, score (NaN for none) and seconds of speech, in order."""
        begun = 0.0
        for part in self.parts:
            ends = begun + np.cumsum(part.new_s)
            for end, span, score, speech in zip(ends, part.span_s, part.scores, part.speech_s, strict=True):
                yield float(end - span), float(end), float(score), float(speech)
            begun = float(ends[-1])

    @cached_property
    def evidence(self) -> tuple[Floats, Floats]:
        """Of the scored windows ``[k]``: bounded log-odds, and seconds of speech that were new."""
        odds, new_speech_s = zip(*(part.evidence for part in self.parts), strict=True)
        return np.concatenate(odds), np.concatenate(new_speech_s)


@dataclass(frozen=True)
class Outcome:
    """What was decided of a call."""

    human_s: float
    """Seconds of human speech before any synthetic voice, and before an alarm that was true."""
    false_alarms: int
    """Alarms in them."""
    delay_s: float
    """Seconds of speech from the first synthetic word to the alarm; infinite without."""
    called_human: bool
    """Whether it ever was; of a call with a synthetic voice, once that spoke, and before any alarm."""


def outcome(call: Call, thresholds: Thresholds) -> Outcome:
    """Run a call through the daemon's decision."""
    leg = LegDecision(thresholds)
    before_s, false_alarms, delay_s, called_human = 0.0, 0, np.inf, False
    for start_s, end_s, score, speech_s in call.windows:
        was = leg.decision
        unscored = np.isnan(score)
        leg.update(
            start_s,
            end_s,
            None if unscored else score,
            speech_s,
            SkipReason.NO_SPEECH if unscored else None,
        )
        synthetic = start_s >= call.first - ROUNDING_S
        if not synthetic:
            before_s = leg.speech_s
        alarm = leg.decision is Decision.SYNTHETIC
        if alarm and was is not Decision.SYNTHETIC and not synthetic:
            false_alarms += 1
        if synthetic and alarm:
            # An alarm that has stood since before says nothing of the voice that came.
            delay_s = leg.speech_s - before_s if was is not Decision.SYNTHETIC else np.inf
            break
        called_human |= leg.decision is Decision.HUMAN and (synthetic or call.first == np.inf)
    return Outcome(before_s, false_alarms, delay_s, called_human)


@dataclass(frozen=True)
class Calls:
    """Calls of one profile, of some rounds."""

    human: list[Call]
    synthetic: list[Call]
    """Synthetic from the start; of the profile ``mixed``, in turns with a human voice."""
    switch: list[Call]
    """Human, then synthetic; of ``mixed``, two human voices, then one of them synthetic."""
    rounds: int

    @classmethod
    def of(cls, heard: Sequence[Utterance], profile: Profile, rounds: int, seed: int) -> "Calls":
        """Assemble them from clips in all conditions; those of other conditions are left out."""
        rng = np.random.default_rng(seed)
        made: tuple[list[Call], list[Call], list[Call]] = ([], [], [])
        for condition in PROFILES[profile] * rounds:
            mine = [each for each in heard if each.condition == condition]
            humans = [each for each in mine if each.clip.label == Label.REAL]
            fakes = [each for each in mine if each.clip.label == Label.FAKE]
            join = _in_turns if profile == "mixed" else _alone
            for calls, more in zip(made, join(humans, fakes, rng), strict=True):
                calls.extend(more)
        return cls(*made, rounds * len(PROFILES[profile]))


Made = tuple[list[Call], list[Call], list[Call]]


def _alone(humans: list[Utterance], fakes: list[Utterance], rng: np.random.Generator) -> Made:
    human = [Call(parts, parts[0].maker) for parts in _voices(humans, HUMAN_S, rng)]
    voices = _voices(fakes, SYNTHETIC_S, rng)
    synthetic = [Call(parts, parts[0].maker, 0.0) for parts in voices]
    before = _partners(voices, _voices(humans, BEFORE_S, rng), rng)
    switch = [
        Call(first + parts, parts[0].maker, _length_s(first))
        for first, parts in zip(before, voices, strict=True)
    ]
    return human, synthetic, switch


def _in_turns(humans: list[Utterance], fakes: list[Utterance], rng: np.random.Generator) -> Made:
    one, other = (_voices(humans, HUMAN_S / 2, rng) for _ in range(2))
    # Each voice leads one call; by twos, so that no clip is in two calls.
    human = [Call(_turns(a, b), a[0].maker) for a, b in zip(one[0::2], one[1::2], strict=False)]
    voices = _voices(fakes, SYNTHETIC_S, rng)
    beside = _partners(voices, other, rng)
    synthetic = [
        Call(_turns(b, a), a[0].maker, _length_s(b[:1])) for a, b in zip(voices, beside, strict=True)
    ]
    before = _partners(voices, one, rng)
    switch = [
        Call((*first, *_turns(a, b)), a[0].maker, _length_s(first))
        for first, a, b in zip(before, voices, beside, strict=True)
    ]
    return human, synthetic, switch


Parts = tuple[Utterance, ...]


def _voices(clips: Sequence[Utterance], most_s: float, rng: np.random.Generator) -> list[Parts]:
    """The clips of each maker, speaker by speaker, in pieces of at most so many seconds; in a drawn order."""
    speakers: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        speakers[clip.maker][clip.voice].append(clip)
    pieces: list[Parts] = []
    for voices in speakers.values():
        names = [list(voices)[i] for i in rng.permutation(len(voices))]
        row = [voices[name][i] for name in names for i in rng.permutation(len(voices[name]))]
        piece: Parts = ()
        for clip in row:
            if piece and _length_s((*piece, clip)) > most_s:
                pieces.append(piece)
                piece = ()
            piece = (*piece, clip)
        pieces.append(piece)
    return [pieces[i] for i in rng.permutation(len(pieces))]


def _partners(voices: list[Parts], humans: list[Parts], rng: np.random.Generator) -> list[Parts]:
    """For each voice a human one, of the same source where it has one; they may be drawn again."""
    by_source: dict[str, list[Parts]] = defaultdict(list)
    for parts in humans:
        by_source[parts[0].clip.source].append(parts)
    chosen = [by_source.get(parts[0].clip.source) or humans for parts in voices]
    return [among[int(rng.integers(len(among)))] for among in chosen]


def _turns(one: Parts, other: Parts) -> Parts:
    """Clip by clip, one and the other; who has more to say ends alone."""
    return tuple(part for part in chain.from_iterable(zip_longest(one, other)) if part is not None)


def _length_s(parts: Parts) -> float:
    return float(sum(part.new_s.sum() for part in parts))
