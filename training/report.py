"""An evaluation for people: a table on the terminal, ``report.md``, ``report.html`` and its plots."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

Figures = dict[str, Any]
Rows = list[list[str]]

CONDITIONS = {"wideband": "16 kHz", "resampled": "48 kHz", "g711": "G.711"}
NAMES = {
    "eer": "EER",
    "auc": "AUC",
    "f1": "F1",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
}
LEVELS = {
    "clip_over_sources": "whole clip",
    "window": "2-s window",
    "clip": "whole clip, interval over clips",
}
PLOTS = ("roc", "score_distribution", "confusion_matrix", "precision_recall", "training_history")
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: white; border-radius: .5rem; margin: .5rem 0; }
"""


def write(out: Path, figures: Figures, pictures: dict[str, bytes]) -> None:
    """Write report and plots into a folder, which is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (out / f"{name}.png").write_bytes(png)
    shown = [name for name in PLOTS if name in pictures]
    (out / "report.md").write_text(_markdown(figures, shown), encoding="utf-8")
    (out / "report.html").write_text(_html(figures, shown), encoding="utf-8")


def table(figures: Figures) -> Table:
    """The main figures for a terminal of 80 columns: percent, AUC from 0 to 1.

    The 95 % intervals are over sources: whole generators and human sources are drawn.
    """
    shown = Table(title=_title(figures), box=box.SIMPLE, padding=(0, 1, 0, 0))
    shown.add_column("")
    columns = [("clip_over_sources", condition) for condition in CONDITIONS] + [("window", "wideband")]
    for level, condition in columns:
        shown.add_column(f"{LEVELS[level]},\n{CONDITIONS[condition]}", justify="right")
    for name, words in NAMES.items():
        rows = [figures["conditions"][condition][level][name] for level, condition in columns]
        shown.add_row(words, *(_interval(name, row).replace(" %", "") for row in rows))
    return shown


def _title(figures: Figures) -> str:
    clips = figures["clips"]
    return (
        f"{figures['model']} on {figures['split']}: {clips['real']} human and {clips['fake']} synthetic clips"
    )


def _tables(figures: Figures) -> Iterator[tuple[str, Rows]]:
    """Heading and rows, the first row being the head."""
    yield (
        "Figures at threshold 0.5, with 95 % intervals over sources (generators and human sources are drawn)",
        _main(figures),
    )
    wideband, g711 = (figures["conditions"][name] for name in ("wideband", "g711"))
    for key, heading in (("by_kind", "By kind"), ("by_era", "By era"), ("by_generator", "By generator")):
        other = {row["name"]: row for row in g711[key]}
        head = ["synthetic clips", "clips", "AUC", "EER", "missed", "AUC G.711", "EER G.711", "missed G.711"]
        yield (
            f"{heading}, against all human clips",
            [
                head,
                *(
                    [row["name"], str(row["clips"]), *_three(row), *_three(other[row["name"]])]
                    for row in wideband[key]
                ),
            ],
        )
    rates = {row["name"]: row["rate"] for row in g711["false_alarms"]}
    yield (
        "False alarms by human source",
        [
            ["human clips", "clips", "called synthetic", "over G.711"],
            *(
                [row["name"], str(row["clips"]), f"{row['rate']:.1%}", f"{rates[row['name']]:.1%}"]
                for row in wideband["false_alarms"]
            ),
        ],
    )
    aside = {row["name"]: row["called_synthetic"] for row in g711["aside"]}
    yield (
        "Neither class; in service the speech gate keeps most non-speech away",
        [
            ["clips of", "clips", "called synthetic", "over G.711"],
            *(
                [
                    row["name"],
                    str(row["clips"]),
                    f"{row['called_synthetic']:.1%}",
                    f"{aside[row['name']]:.1%}",
                ]
                for row in wideband["aside"]
            ),
        ],
    )


def _main(figures: Figures) -> Rows:
    rows = [["", *NAMES.values()]]
    for level, level_name in LEVELS.items():
        for condition, condition_name in CONDITIONS.items():
            row = figures["conditions"][condition][level]
            rows.append([f"{level_name}, {condition_name}", *(_interval(name, row[name]) for name in NAMES)])
    return rows


def _interval(name: str, row: dict[str, float]) -> str:
    if name == "auc":
        return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.1f}-{100 * row['high']:.1f})"


def _three(row: Figures) -> list[str]:
    return [f"{row['auc']:.3f}", f"{row['eer']:.1%}", f"{row['missed']:.1%}"]


def _markdown(figures: Figures, plots: list[str]) -> str:
    lines = [f"# {_title(figures)}", ""]
    for heading, (head, *rows) in _tables(figures):
        lines += [
            f"## {heading}",
            "",
            _row(head),
            "|---" + "|---:" * (len(head) - 1) + "|",
            *map(_row, rows),
            "",
        ]
    lines += ["## Plots", "", *(f"![{name.replace('_', ' ')}]({name}.png)" for name in plots), ""]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html(figures: Figures, plots: list[str]) -> str:
    title = html.escape(_title(figures))
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    ]
    parts.append(f"<h1>{title}</h1>")
    sections = iter(_tables(figures))
    parts.append(_section(*next(sections)))
    parts += [f'<img src="{name}.png" alt="{name.replace("_", " ")}">' for name in plots]
    parts += [_section(heading, rows) for heading, rows in sections]
    return "\n".join([*parts, "</html>"]) + "\n"


def _section(heading: str, rows: Rows) -> str:
    head, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<h2>{html.escape(heading)}</h2><table><tr>{cells}</tr>{''.join(lines)}</table>"
