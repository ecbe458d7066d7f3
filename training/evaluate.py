"""Measure a bundle on clips that it was not trained on.

    fac evaluate runs/default/bundle corpus --split test --out runs/default/test

Every clip is heard in three conditions: at 16 kHz as it is, from 48 kHz, and over G.711 (µ-law at 8 kHz). A
window's score is the calibrated
log-likelihood ratio, a clip's the mean of its windows'; above 0, probability one half, it is called
synthetic, which is the positive class.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fac_model.bundle import Bundle
from fac_stream.audio.frames import Samples
from fac_stream.errors import ConfigError
from training import plots, report
from training.dataset import Corpus
from training.logits import CONDITIONS, Condition, Scored, clip_logits, scorer_of
from training.manifest import Clip, Label, Split
from training.metrics import figures, with_intervals

WINDOWS_PER_CLIP = 4
DRAWS = 1000

Figures = dict[str, Any]


def evaluate(
    bundle: Path | None,
    data: Path,
    split: str,
    out: Path,
    *,
    store: bool = False,
    limit: int | None = None,
) -> Figures:
    """Score one split, print the figures, write them with plots and a report.

    Args:
        bundle: its folder; None for the shipped one.
        data: manifest CSV or folder.
        split: ``train``, ``dev`` or ``test``.
        out: folder for ``metrics.json``, ``report.md``, ``report.html`` and the plots.
        store: also keep figures and plots in the bundle, as what it says of itself; for ``test`` only.
        limit: the most clips of each label, evenly chosen.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ConfigError: there is no such split, or another than ``test`` is to be stored.
        ManifestError: the split lacks a class.
        BundleError: the bundle is damaged or cannot be written.
    """
    _check(split, store=store)
    loaded = Bundle.load(bundle)
    corpus = Corpus.open(data)
    speech = _thin(corpus.speech(Split(split)), limit)
    others = {
        label: _thin(corpus.part(Split(split), label), limit) for label in (Label.NONSPEECH, Label.CODEC)
    }
    llr = _llr_of(loaded)
    scored = {condition: _score(llr, speech, condition) for condition in CONDITIONS}
    conditions = {condition: figures_of(part) for condition, part in scored.items()}
    for condition, row in conditions.items():
        row["aside"] = [
            _aside(label, _score(llr, part, condition)) for label, part in others.items() if part.clips
        ]
    result = {
        "model": loaded.model_id,
        "split": split,
        "clips": {
            label.value: sum(clip.label == label for clip in speech.clips)
            for label in (Label.REAL, Label.FAKE)
        },
        "threshold": 0.5,
        "conditions": conditions,
    }
    pictures = plots.all_plots(scored, loaded.manifest.training.get("history"))
    report.write(out, result, pictures)
    (out / "metrics.json").write_text(json.dumps(result, indent=1) + "\n")
    if store:
        _store(loaded, result, pictures)
    Console().print(report.table(result))
    return result


def _check(split: str, *, store: bool) -> None:
    if split not in list(Split):
        raise ConfigError(f"there is no split {split!r}; use train, dev or test")
    if store and split != Split.TEST:
        raise ConfigError("a bundle states what it scores on test: no other split is stored in it")


def _llr_of(bundle: Bundle) -> Callable[[Samples], Samples]:
    """Float32 ``[B, 32000]`` to calibrated log-likelihood ratios ``[B]``."""
    score = scorer_of(bundle)
    return lambda waves: bundle.manifest.calibration.llr(score(waves))


def _store(bundle: Bundle, result: Figures, pictures: dict[str, bytes]) -> None:
    """Keep figures and plots in the bundle, the headline at its top level."""
    headline = {name: row["value"] for name, row in result["conditions"]["wideband"]["clip"].items()}
    files = {f"plots/{name}.png": png for name, png in pictures.items()}
    bundle.update(metrics=headline | result, files=files)


def figures_of(scored: Scored) -> Figures:
    """All figures of one condition, plain JSON."""
    labels, llrs, clips = scored.labels, scored.llrs, scored.clips
    counts = [len(row) for row in scored.windows]
    makers = [f"{clip.source} {clip.generator}" for clip in clips]
    return {
        "clip": with_intervals(labels, llrs, draws=DRAWS),
        "clip_over_sources": with_intervals(labels, llrs, makers, draws=DRAWS),
        "window": with_intervals(
            np.repeat(labels, counts),
            np.concatenate(scored.windows),
            list(np.repeat(makers, counts)),
            draws=DRAWS,
        ),
        "by_kind": _breakdown(scored, lambda clip: clip.kind or "not stated"),
        "by_era": _breakdown(scored, lambda clip: clip.era or "not stated"),
        "by_generator": _breakdown(scored, lambda clip: clip.generator or "not stated"),
        "false_alarms": _false_alarms(scored),
    }


def _breakdown(scored: Scored, key: Callable[[Clip], str]) -> list[Figures]:
    """The synthetic clips of each group against all human ones, the hardest group first."""
    labels, llrs = scored.labels, scored.llrs
    human = llrs[~labels]
    groups: dict[str, list[float]] = defaultdict(list)
    for clip, llr in zip(scored.clips, llrs, strict=True):
        if clip.label == Label.FAKE:
            groups[key(clip)].append(float(llr))
    rows = []
    for name, fake in groups.items():
        both = np.concatenate([human, fake])
        found = figures(np.arange(len(both)) >= len(human), both)
        rows.append(
            {
                "name": name,
                "clips": len(fake),
                "auc": round(found["auc"], 3),
                "eer": round(found["eer"], 3),
                "missed": round(1.0 - found["recall"], 3),
            }
        )
    return sorted(rows, key=lambda row: row["auc"])


def _false_alarms(scored: Scored) -> list[Figures]:
    """How many human clips of each source are called synthetic, the worst source first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for clip, llr in zip(scored.clips, scored.llrs, strict=True):
        if clip.label == Label.REAL:
            groups[clip.source or "not stated"].append(float(llr))
    rows = [
        {"name": name, "clips": len(llrs), "rate": round(float(np.mean(np.asarray(llrs) > 0)), 3)}
        for name, llrs in groups.items()
    ]
    return sorted(rows, key=lambda row: -float(row["rate"]))


def _aside(label: Label, scored: Scored) -> Figures:
    """Clips of neither class: only how often they would be called synthetic, were they let through."""
    called = float(np.mean(scored.llrs > 0))
    return {"name": label.value, "clips": len(scored.clips), "called_synthetic": round(called, 3)}


def _score(llr: Callable[[Samples], Samples], corpus: Corpus, condition: Condition) -> Scored:
    return Scored(corpus.clips, clip_logits(llr, corpus, condition, WINDOWS_PER_CLIP))


def _thin(corpus: Corpus, limit: int | None) -> Corpus:
    """At most so many clips of each label, evenly over the manifest."""
    if limit is None:
        return corpus
    kept: list[int] = []
    for label in Label:
        numbers = [number for number, clip in enumerate(corpus.clips) if clip.label == label]
        places = np.linspace(0, len(numbers) - 1, min(limit, len(numbers))).round().astype(int)
        kept += [numbers[place] for place in places]
    return Corpus([corpus.clips[number] for number in kept], corpus.pcm.subset(kept))
