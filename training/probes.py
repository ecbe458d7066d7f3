"""Shortcut probes: how far would one come without listening to the voice?

Each probe is a small boosted tree that sees a few numbers a recording, and nothing of how it sounds: what the
manifest says of the file, where it is silent, how loud it is, how wide its band is. It is fitted on split
train and asked about the split that is evaluated. An AUC near 0.5 says that the shortcut leads nowhere; what
a detector scores above the best probe cannot come from these shortcuts alone.

Each is asked twice: on all clips as they are, and under the sampling that training uses, where a fake stands
beside a human of its own page, or its own original; what tells two pages apart is then of no use.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from fac_stream.audio.frames import SAMPLE_RATE, Samples
from training.dataset import Groups, draw_pair
from training.intervals import with_intervals
from training.manifest import Clip, Label, Split, read_manifest
from training.metrics import Floats
from training.pcm import active_frames, decode

NUMBERS = ("duration_s", "original_rate_hz", "bandwidth_hz")
WORDS = ("original_codec",)
PLACES = ("original_codec", "channel")
BANDS_HZ = (1_000.0, 2_000.0, 3_400.0, 4_000.0, 5_500.0, 7_000.0, 7_500.0, 8_000.0)
CLIPS_PER_CLASS = 1_500
"""Of split train, evenly taken: decoding more would cost minutes and change nothing."""
PAIRS = 20_000
FLOOR_DB = -100.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """What the probes may look at."""

    clip: Clip
    columns: dict[str, str]
    """The manifest's row."""


def silence(samples: Samples) -> list[float]:
    """Leading and trailing seconds, share, rate and level of the pauses between, share of digital silence."""
    active = active_frames(samples)
    places = np.flatnonzero(active)
    if not len(places):
        return [np.nan] * 6
    inner = active[places[0] : places[-1] + 1]
    levels = frame_levels(samples)
    pauses = levels[~active]
    starts = int(np.sum(np.diff(inner.astype(int)) == -1))
    quiet = float(np.median(pauses)) if len(pauses) else np.nan
    lead_s, trail_s = places[0] / 50, (len(active) - 1 - places[-1]) / 50
    digital = float(np.mean(levels <= FLOOR_DB))
    return [lead_s, trail_s, 1.0 - float(inner.mean()), starts / (len(samples) / SAMPLE_RATE), quiet, digital]


def level(samples: Samples) -> list[float]:
    """RMS, peak, crest, clipped share, offset, and the spread of 20 ms levels."""
    levels = frame_levels(samples)
    rms, peak = decibel(float(np.mean(samples**2))), 2 * decibel(float(np.abs(samples).max()))
    clipped = float(np.mean(np.abs(samples) > 0.99))
    low, middle, high = np.percentile(levels, [5, 50, 95])
    return [rms, peak, peak - rms, clipped, float(samples.mean()), low, middle, high]


def bandwidth(samples: Samples) -> list[float]:
    """The edges below which 95, 99 and 99.9 % of the power lie, hertz, and its share of bands, decibel."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, 512)), 512)[::256]
    power = np.mean(np.abs(np.fft.rfft(frames * np.hanning(512), axis=1)) ** 2, axis=0) + 1e-12
    hertz = np.fft.rfftfreq(512, 1.0 / SAMPLE_RATE)
    share = np.cumsum(power) / power.sum()
    edges = [float(hertz[np.searchsorted(share, part)]) for part in (0.95, 0.99, 0.999)]
    bands = [power[(hertz >= low) & (hertz < high)].sum() for low, high in pairwise(BANDS_HZ)]
    return [*edges, *(decibel(float(band / power.sum())) for band in bands)]


def decibel(power: float) -> float:
    """Of a power, not below ``FLOOR_DB``."""
    return max(FLOOR_DB, 10.0 * float(np.log10(power + 1e-20)))


def frame_levels(samples: Samples) -> Floats:
    """Decibel of each 20 ms, ``[ceil(n / 320)]``."""
    frames = np.pad(samples, (0, -len(samples) % 320)).reshape(-1, 320)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return np.asarray(np.maximum(FLOOR_DB, 10.0 * np.log10(power + 1e-20)))


SIGNAL: dict[str, Callable[[Samples], list[float]]] = {
    "silence": silence,
    "level": level,
    "bandwidth": bandwidth,
}
"""Of the whole recording, float32 ``[n]``, with the leading and trailing silence that detectors never get."""


def probe(
    data: Path,
    split: Split,
    *,
    limit: int | None = None,
    seed: int = 0,
    tell: Callable[[float], None] = lambda _: None,
) -> list[Row]:
    """Fit every probe on split train and ask it about another.

    Args:
        data: manifest CSV or folder, whose split train must hold both classes.
        split: to ask about.
        limit: the most clips of each class, evenly taken.
        seed: of pairs and bootstrap.
        tell: called with the share of recordings that were measured.

    Returns:
        A row a probe: ``name``, ``plain`` and ``paired``, each an AUC with its interval over generators and
        human sources. None where train lacks a class.
    """
    recordings = _recordings(data)
    train = _thin([each for each in recordings if each.clip.split == Split.TRAIN], CLIPS_PER_CLASS)
    asked = _thin([each for each in recordings if each.clip.split == split], limit)
    if len({each.clip.label for each in train}) < 2:
        return []
    tables: dict[str, tuple[Floats, list[int]]] = {}
    if any(each.columns for each in recordings):
        tables["file format"] = _described(train + asked, WORDS)
        tables["file format and channel"] = _described(train + asked, PLACES)
    for name, values in _measured(train + asked, tell).items():
        tables[name] = values, []
    return [
        {"name": name, **_answers(values, words, train, asked, seed)}
        for name, (values, words) in tables.items()
    ]


def _measured(recordings: list[Recording], tell: Callable[[float], None]) -> dict[str, Floats]:
    """The numbers of each probe of ``SIGNAL``, ``[recordings, numbers]``; every file is decoded once."""
    found: dict[str, list[list[float]]] = {name: [] for name in SIGNAL}
    for number, recording in enumerate(recordings):
        samples = decode(recording.clip.path)
        for name, measure in SIGNAL.items():
            found[name].append(measure(samples))
        tell((number + 1) / len(recordings))
    return {name: np.array(rows) for name, rows in found.items()}


def _answers(
    values: Floats, words: list[int], train: list[Recording], asked: list[Recording], seed: int
) -> Row:
    """AUCs of one probe with both samplings; ``words`` are the columns that hold numbers of words."""
    # A column of nothing but NaN breaks the tree; no measure is -1, and a word of -1 counts as missing.
    values = np.nan_to_num(values, nan=-1.0)
    chosen = {
        "plain": (np.arange(len(train)), np.arange(len(asked))),
        "paired": (_pairs(train, seed), _pairs(asked, seed)),
    }
    found = {}
    for sampling, (fitted, heard) in chosen.items():
        tree = HistGradientBoostingClassifier(
            max_depth=3, max_iter=100, early_stopping=False, categorical_features=words, random_state=seed
        )
        tree.fit(values[: len(train)][fitted], _labels(train)[fitted])
        # 2,000 of the draws are enough to weigh by, and a tenth of the work.
        numbers = heard[:2_000] if sampling == "paired" else heard
        scores = tree.decision_function(values[len(train) :][numbers])
        makers = [f"{asked[i].clip.source} {asked[i].clip.generator}" for i in numbers]
        labels = _labels(asked)[numbers]
        found[sampling] = with_intervals(labels, scores, makers, names=("auc",), draws=500, seed=seed)["auc"]
    return found


def _pairs(recordings: list[Recording], seed: int) -> Any:
    """Numbers as training would draw them, human and synthetic in turn: ``[PAIRS]``."""
    groups, rng = Groups.of([each.clip for each in recordings]), np.random.default_rng(seed)
    return np.array([draw_pair(groups, "paired", rng) for _ in range(PAIRS // 2)]).reshape(-1)


def _labels(recordings: list[Recording]) -> Any:
    return np.array([each.clip.label == Label.FAKE for each in recordings])


def _described(recordings: list[Recording], words: Sequence[str]) -> tuple[Floats, list[int]]:
    """The manifest's numbers, and its words as numbers; NaN where it says nothing."""
    numbers = [[_number(each.columns.get(name, "")) for name in NUMBERS] for each in recordings]
    columns = [np.array(numbers)]
    for name in words:
        known = sorted({each.columns.get(name, "") for each in recordings} - {""})
        place = {word: float(number) for number, word in enumerate(known[:200])}
        columns.append(np.array([[place.get(each.columns.get(name, ""), np.nan)] for each in recordings]))
    return np.concatenate(columns, axis=1), list(range(len(NUMBERS), len(NUMBERS) + len(words)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _recordings(data: Path) -> list[Recording]:
    clips = read_manifest(data)
    table = data / "manifest.csv" if data.is_dir() else data
    columns: dict[str, dict[str, str]] = {}
    if table.is_file():
        with table.open(newline="", encoding="utf-8-sig") as lines:
            columns = {row["path"].strip(): row for row in csv.DictReader(lines)}
    return [
        Recording(clip, columns.get(clip.name, {}))
        for clip in clips
        if clip.label in (Label.REAL, Label.FAKE)
    ]


def _thin(recordings: list[Recording], limit: int | None) -> list[Recording]:
    kept = []
    for label in (Label.REAL, Label.FAKE):
        part = [each for each in recordings if each.clip.label == label]
        count = len(part) if limit is None else min(limit, len(part))
        kept += [part[i] for i in np.unique(np.linspace(0, len(part) - 1, count).round().astype(int))]
    return kept
