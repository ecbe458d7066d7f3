"""Where a detector is good and where it fails: by kind, era, generator, language, human source and cell."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from training.intervals import mean_interval, share_interval, with_intervals
from training.logits import Scored
from training.manifest import Clip, Label
from training.metrics import Floats, Ranking

MIN_CLIPS = 8
"""A worst cell or source is named among those with so many clips: of three, one is 33 %."""
WORST = 10
DRAWS = 200
NOT_STATED = "not stated"

Row = dict[str, Any]
"""Plain JSON."""


def by(scored: Scored, key: Callable[[Clip], str], alert_llr: float, *, seed: int = 0) -> list[Row]:
    """The synthetic clips of each group against all human ones, the hardest group first.

    A row holds ``name``, ``clips``, ``auc`` and ``eer`` with intervals over clips, and ``missed``, the share
    that is not called synthetic, at probability one half and at the alert threshold of clips.
    """
    human = scored.llrs[~scored.labels]
    rows = []
    for name, fake in _grouped(scored, Label.FAKE, key).items():
        labels = np.arange(len(human) + len(fake)) >= len(human)
        both = np.concatenate([human, fake])
        found = with_intervals(labels, both, names=("auc", "eer"), draws=DRAWS, seed=seed)
        missed = {
            "even": share_interval(int(np.sum(fake <= 0.0)), len(fake)),
            "alert": share_interval(int(np.sum(fake < alert_llr)), len(fake)),
        }
        rows.append({"name": name, "clips": len(fake)} | found | {"missed": missed})
    return sorted(rows, key=lambda row: (float(row["auc"]["value"]), str(row["name"])))


def human_sources(scored: Scored, alert_llr: float) -> list[Row]:
    """How many human clips of each source are called synthetic, the worst source first.

    Rates ``even`` (probability above one half) and ``alert`` (at the alert threshold of clips and above).
    """
    groups = _grouped(scored, Label.REAL, lambda clip: clip.source)
    return _ranked(
        {"name": name, "clips": len(llrs)} | called(llrs, alert_llr) for name, llrs in groups.items()
    )


def called(llrs: Floats, alert_llr: float) -> Row:
    """The shares called synthetic: ``even``, LLR above 0, and ``alert``, at the alert threshold or above."""
    return {
        "even": share_interval(int(np.sum(llrs > 0.0)), len(llrs)),
        "alert": share_interval(int(np.sum(llrs >= alert_llr)), len(llrs)),
    }


def false_alarms(rows: list[Row], *, seed: int = 0) -> Row:
    """The worst human source and the mean over sources, at both thresholds, of what ``human_sources`` gave.

    Sources with fewer than ``MIN_CLIPS`` clips are left out where others have as many.
    """
    counted = [row for row in rows if row["clips"] >= MIN_CLIPS] or rows
    found: Row = {"sources": len(counted)}
    for threshold in ("even", "alert"):
        worst = max(counted, key=lambda row: row[threshold]["value"])
        mean = mean_interval([row[threshold]["value"] for row in counted], seed=seed)
        found[threshold] = {"worst": {"name": worst["name"]} | worst[threshold], "mean": mean}
    return found


def languages(scored: Scored, alert_llr: float) -> list[Row]:
    """What is called synthetic in each language, human and synthetic clips apart; most human clips first."""
    humans, fakes = (
        _grouped(scored, label, lambda clip: clip.language) for label in (Label.REAL, Label.FAKE)
    )
    rows = [
        {
            "name": name,
            "human": _part(humans.get(name), alert_llr),
            "synthetic": _part(fakes.get(name), alert_llr),
        }
        for name in {**humans, **fakes}
    ]
    return sorted(rows, key=lambda row: (-row["human"]["clips"], -row["synthetic"]["clips"], row["name"]))


def _part(llrs: Floats | None, alert_llr: float) -> Row:
    return {"clips": 0} if llrs is None else {"clips": len(llrs)} | called(llrs, alert_llr)


def matrix(scored: Scored) -> Row:
    """Every generator against every human source, where both have at least ``MIN_CLIPS`` clips.

    Returns:
        ``generators`` and ``sources``, each the easiest first, and ``auc`` and ``eer``, a list of a value a
        source for each generator; ``clips`` of both.
    """
    groups = {
        label: {name: llrs for name, llrs in _grouped(scored, label, key).items() if len(llrs) >= MIN_CLIPS}
        for label, key in ((Label.FAKE, _generator), (Label.REAL, lambda clip: clip.source))
    }
    # Sorted by their means, so that what is hard stands together in the picture.
    fakes = sorted(groups[Label.FAKE].items(), key=lambda item: -float(item[1].mean()))
    humans = sorted(groups[Label.REAL].items(), key=lambda item: float(item[1].mean()))
    cells = [[_cell(human, fake) for _, human in humans] for _, fake in fakes]
    return {
        "generators": [{"name": name, "clips": len(llrs)} for name, llrs in fakes],
        "sources": [{"name": name, "clips": len(llrs)} for name, llrs in humans],
        "auc": [[round(cell["auc"], 3) for cell in row] for row in cells],
        "eer": [[round(cell["eer"], 3) for cell in row] for row in cells],
    }


def _cell(human: Floats, fake: Floats) -> dict[str, float]:
    both = np.concatenate([human, fake])
    ranking = Ranking.of(np.arange(len(both)) >= len(human), both)
    found = ranking.figures(np.ones((1, len(both))), ("auc", "eer"))
    return {name: float(values[0]) for name, values in found.items()}


def worst_cells(cells: Mapping[str, Any]) -> list[Row]:
    """The ``WORST`` cells of a matrix, least AUC first."""
    rows = [
        {
            "generator": generator["name"],
            "source": source["name"],
            "auc": cells["auc"][i][j],
            "eer": cells["eer"][i][j],
            "clips": [generator["clips"], source["clips"]],
        }
        for i, generator in enumerate(cells["generators"])
        for j, source in enumerate(cells["sources"])
    ]
    return sorted(rows, key=lambda row: row["auc"])[:WORST]


def _generator(clip: Clip) -> str:
    return clip.generator


def _grouped(scored: Scored, label: Label, key: Callable[[Clip], str]) -> dict[str, Floats]:
    groups: dict[str, list[float]] = defaultdict(list)
    for clip, llr in zip(scored.clips, scored.llrs, strict=True):
        if clip.label == label:
            groups[key(clip) or NOT_STATED].append(float(llr))
    return {name: np.array(llrs) for name, llrs in groups.items()}


def _ranked(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row["even"]["value"], -row["alert"]["value"], row["name"]))
