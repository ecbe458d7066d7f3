"""Measure a bundle on clips that it was not trained on.

    fac evaluate runs/default/bundle corpus --split test --out runs/default/test

Every clip is heard in every condition of ``training.channel``: at 16 kHz as it is, over G.711, in noise and
so on. A window's score is the calibrated log-likelihood ratio, a clip's that of a call of these windows.
Above 0, probability one half, it is called synthetic, which is the positive class; at the daemon's alert
threshold an alert would be raised. Chance has a part in bootstraps and probes only; it starts from ``seed``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fac_model.bundle import Bundle
from fac_stream.audio.speech import SpeechGate
from fac_stream.config import Speech
from fac_stream.errors import ConfigError
from training import plots, report
from training.aims import aims
from training.canvas import name_of
from training.channel import CONDITIONS
from training.dataset import Corpus
from training.findings import Heard, findings
from training.intervals import DRAWS
from training.logits import Scored, clip_logits, judge_of, most_speech, scored
from training.manifest import Label, Split
from training.peers import Peer, compare, hear
from training.probes import probe
from training.rules import Rules

WINDOWS_PER_CLIP = 4
MAIN_CONDITIONS = ("wideband", "g711")
"""In which peers are heard, and the speech gate is measured."""
SCHEMA = 2
"""Of ``metrics.json``."""
STORED = (
    "clip",
    "clip_over_sources",
    "window",
    "alert",
    "durations",
    "by_kind",
    "by_era",
    "by_generator",
    "false_alarms",
    "false_alarm_summary",
    "worst_cells",
    "nonspeech",
    "codec",
    "speech_detection",
)
"""Of each condition, in the bundle; ``metrics.json`` has all."""

Figures = dict[str, Any]


def evaluate(
    bundle: Path | None,
    data: Path,
    split: str,
    out: Path,
    *,
    store: bool = False,
    limit: int | None = None,
    conditions: Sequence[str] = tuple(CONDITIONS),
    peers: Sequence[str] = (),
    probes: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
) -> Figures:
    """Score one split, print the figures, write them with plots and a report.

    Args:
        bundle: its folder; None for the shipped one.
        data: manifest CSV or folder.
        split: ``train``, ``dev`` or ``test``.
        out: folder for ``metrics.json``, ``report.html`` and the plots.
        store: also keep figures and plots in the bundle, as what it says of itself; for ``test`` only.
        limit: the most clips of each label, evenly chosen.
        conditions: keys of ``training.channel.CONDITIONS``; wideband is always among them.
        peers: ``module:function`` of other detectors to put on the same clips.
        probes: whether to fit the shortcut probes, which decodes split train.
        draws: of the bootstraps of the main figures.
        seed: of bootstraps and probes.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ConfigError: there is no such split, condition or peer, or not ``test`` is to be stored.
        ManifestError: the split lacks a class.
        BundleError: the bundle is damaged or cannot be written.
        FacError: a peer gives something else than scores.
    """
    asked = _check(split, conditions, store=store)
    loaded, rivals = Bundle.load(bundle), [Peer.load(place) for place in peers]
    parts = Parts.open(data, Split(split), limit)
    shared = [name for name in MAIN_CONDITIONS if name in asked]
    with Work(parts.clips * (len(asked) + len(rivals) * len(shared))) as work:
        heard = {name: _hear(loaded, parts, name, work) for name in asked}
        others = {rival: _hear_peer(rival, parts, shared, work) for rival in rivals}
    shortcuts = probe(data, Split(split), limit=limit, seed=seed) if probes else []
    rules, best = Rules(loaded.manifest.calibration), most_speech(parts.speech, WINDOWS_PER_CLIP)
    found = {name: findings(each, best, rules, draws=draws, seed=seed) for name, each in heard.items()}
    result = {
        **_about(loaded, parts, split, rules),
        "draws": draws,
        "seed": seed,
        "aims": aims(found),
        "conditions": found,
        "probes": shortcuts,
        "peers": _side_by_side(loaded.model_id, heard, others, draws, seed),
    }
    _publish(loaded, result, heard, out, store=store)
    return result


def _publish(bundle: Bundle, result: Figures, heard: Mapping[str, Heard], out: Path, *, store: bool) -> None:
    """Draw, write, keep in the bundle where asked to, and print."""
    speech = {name: each.speech for name, each in heard.items()}
    history = bundle.manifest.training.get("history")
    light, dark = (
        plots.all_plots(speech, result["conditions"], history, dark=dark) for dark in (False, True)
    )
    report.write(out, result, light, dark)
    if store:
        _store(bundle, result, light)
    report.show(result, Console())


def _check(split: str, conditions: Sequence[str], *, store: bool) -> list[str]:
    """The conditions in their order, wideband first."""
    if split not in list(Split):
        raise ConfigError(f"there is no split {split!r}; use train, dev or test")
    if store and split != Split.TEST:
        raise ConfigError("a bundle states what it scores on test: no other split is stored in it")
    if unknown := sorted(set(conditions) - set(CONDITIONS)):
        raise ConfigError(f"there is no condition {', '.join(unknown)}; there are {', '.join(CONDITIONS)}")
    return [name for name in CONDITIONS if name == "wideband" or name in conditions]


@dataclass(frozen=True)
class Parts:
    """The clips that are heard; of non-speech and codecs there may be none."""

    speech: Corpus
    nonspeech: Corpus
    codec: Corpus

    @classmethod
    def open(cls, data: Path, split: Split, limit: int | None) -> Self:
        """Read the manifest and decode what was never decoded before.

        Raises:
            ManifestError: the manifest cannot be used, or the split lacks a class.
            AudioError: a clip cannot be used.
        """
        corpus = Corpus.open(data)
        aside = (corpus.part(split, label) for label in (Label.NONSPEECH, Label.CODEC))
        return cls(*(thinned(part, limit) for part in (corpus.speech(split), *aside)))

    @property
    def clips(self) -> int:
        """How many there are."""
        return sum(len(part.clips) for part in (self.speech, self.nonspeech, self.codec))


def thinned(corpus: Corpus, limit: int | None) -> Corpus:
    """At most so many clips of each label, evenly over the manifest."""
    if limit is None:
        return corpus
    kept: list[int] = []
    for label in Label:
        numbers = [number for number, clip in enumerate(corpus.clips) if clip.label == label]
        places = np.linspace(0, len(numbers) - 1, min(limit, len(numbers))).round().astype(int)
        kept += [numbers[place] for place in places]
    return Corpus([corpus.clips[number] for number in kept], corpus.pcm.subset(kept))


class Work:
    """A bar on the terminal with the time that is left, counted in clips."""

    def __init__(self, clips: int) -> None:
        columns = (
            TextColumn("{task.description:32}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar = self._progress.add_task("", total=clips)
        self._done = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, text: str, clips: int) -> Callable[[int], None]:
        """The next clips; returns what is to be told how many of them were begun."""
        before = self._done
        self._done += clips
        self._progress.update(self._bar, completed=before, description=text)
        return lambda done: self._progress.update(self._bar, completed=before + done)


def _hear(bundle: Bundle, parts: Parts, condition: str, work: Work) -> Heard:
    speech = Speech()
    gate = SpeechGate(speech.threshold, speech.min_level_dbfs)

    def answers(part: Corpus, gate: SpeechGate | None) -> Scored:
        tell = work.begin(name_of(condition), len(part.clips))
        judged = clip_logits(judge_of(bundle, gate), part, condition, WINDOWS_PER_CLIP, tell=tell)
        return scored(part.clips, judged, bundle.manifest.calibration)

    aside = (answers(part, gate) if part.clips else None for part in (parts.nonspeech, parts.codec))
    # The gate takes as long as the network: two conditions tell how well it finds speech.
    return Heard(answers(parts.speech, gate if condition in MAIN_CONDITIONS else None), *aside)


def _hear_peer(peer: Peer, parts: Parts, conditions: Sequence[str], work: Work) -> dict[str, Heard]:
    def answers(part: Corpus, condition: str) -> Scored:
        tell = work.begin(f"{peer.name}, {name_of(condition)}", len(part.clips))
        return hear(peer, part, condition, WINDOWS_PER_CLIP, tell)

    return {
        name: Heard(
            answers(parts.speech, name), answers(parts.nonspeech, name) if parts.nonspeech.clips else None
        )
        for name in conditions
    }


def _side_by_side(
    model: str, ours: Mapping[str, Heard], others: Mapping[Peer, dict[str, Heard]], draws: int, seed: int
) -> list[Figures]:
    """The bundle and its peers, a row each; none without peers."""
    if not others:
        return []
    rows = [(model, 2.0, {name: ours[name] for name in MAIN_CONDITIONS if name in ours})]
    rows += [(peer.name, peer.window_s, heard) for peer, heard in others.items()]
    return [
        {
            "name": name,
            "window_s": window_s,
            "conditions": {
                condition: compare(each.speech, each.nonspeech, draws=draws, seed=seed)
                for condition, each in heard.items()
            },
        }
        for name, window_s, heard in rows
    ]


def _about(bundle: Bundle, parts: Parts, split: str, rules: Rules) -> Figures:
    clips = parts.speech.clips
    fakes = [clip for clip in clips if clip.label == Label.FAKE]
    return {
        "schema": SCHEMA,
        "model": bundle.model_id,
        "split": split,
        "clips": {"real": len(clips) - len(fakes), "fake": len(fakes)},
        "aside": {"nonspeech": len(parts.nonspeech.clips), "codec": len(parts.codec.clips)},
        "generators": len({clip.generator for clip in fakes}),
        "sources": len({clip.source for clip in clips if clip.label == Label.REAL}),
        "threshold": 0.5,
        "alert_threshold": rules.raise_at,
        "min_speech_s": rules.min_speech_s,
    }


def _store(bundle: Bundle, result: Figures, pictures: Mapping[str, bytes]) -> None:
    """Keep the main figures and the plots in the bundle, the headline at its top level."""
    headline = {name: row["value"] for name, row in result["conditions"]["wideband"]["clip"].items()}
    told = {key: value for key, value in result.items() if key not in ("conditions", "peers", "probes")}
    told["conditions"] = {
        condition: {key: row[key] for key in STORED} for condition, row in result["conditions"].items()
    }
    files = {f"plots/{name}.png": png for name, png in pictures.items()}
    bundle.update(metrics=headline | told, files=files)
