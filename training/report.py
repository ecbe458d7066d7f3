"""An evaluation for people: tables on the terminal, and one page with pictures that needs no other file."""

import base64
import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from training.aims import CONDITIONS as AIM_CONDITIONS
from training.canvas import name_of
from training.sections import SECTIONS, WORDS
from training.sheets import WORST_ON_TERMINAL, Sheet, plain, rate, sheets

Figures = dict[str, Any]
Pictures = Mapping[str, bytes]
"""PNGs by name."""

STYLE = Path(__file__).with_name("report.css")
FOLDED = {"clip", "window", "by_generator", "by_language", "false_alarms", "worst_cells"}
"""Tables that are opened by a click."""
ON_TERMINAL = ("aims", "clip_over_sources", "alerts", "by_kind", "by_era", "worst_cells", "peers")
TERMINAL_COLUMNS = {
    "clip_over_sources": ("", "EER", "Cllr", "actDCF", "minDCF"),
    "by_kind": ("kind", "clips", "AUC", "EER", "missed, p > 0.5"),
    "by_era": ("era", "clips", "AUC", "EER", "missed, p > 0.5"),
    "peers": ("", "EER", "AUC", "false alarms", "missed"),
}
"""Of the wider tables, what a terminal shows."""
WORDY = ("generator", "against humans of", "worst human source", *map(name_of, AIM_CONDITIONS))
"""Columns that hold names, and may be broken into lines."""


def title(figures: Figures) -> str:
    """One line about what was measured on what."""
    clips = figures["clips"]
    return (
        f"{figures['model']} on {figures['split']}: {clips['real']} human clips of {figures['sources']}"
        f" sources, {clips['fake']} synthetic of {figures['generators']} generators"
    )


def write(out: Path, figures: Figures, light: Pictures, dark: Pictures) -> None:
    """Write ``metrics.json``, ``report.html`` and the light pictures into a folder, made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    for name, png in light.items():
        (out / f"{name}.png").write_bytes(png)
    (out / "metrics.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(figures, light, dark), encoding="utf-8")


def show(figures: Figures, console: Console) -> None:
    """Print the tables that fit a terminal, the aims first."""
    made = sheets(figures)
    console.print(title(figures), style="bold")
    for key in ON_TERMINAL:
        if key in made:
            console.print(_terminal(made[key]))


def _terminal(sheet: Sheet) -> Table:
    kept = TERMINAL_COLUMNS.get(sheet.key, tuple(sheet.head))
    table = Table(title=sheet.heading, caption=sheet.note or None, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.title_justify = table.caption_justify = "left"
    places = [number for number, name in enumerate(sheet.head) if name in kept]
    for number in places:
        words = number == 0 or sheet.head[number] in ("", *WORDY)
        head = sheet.head[number] if words else fill(sheet.head[number], 14)
        table.add_column(head, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    seen: Counter[str] = Counter()
    for row in sheet.rows:
        seen[row[0]] += 1
        if sheet.key == "worst_cells" and seen[row[0]] > WORST_ON_TERMINAL:
            continue
        table.add_row(*(row[number].replace(" (", "\n(") if number else row[number] for number in places))
    return table


def page(figures: Figures, light: Pictures, dark: Pictures) -> str:
    """The report as one HTML file."""
    made = sheets(figures)
    shown = [
        section
        for section in SECTIONS
        if any(name in light for name in section.pictures) or any(key in made for key in section.tables)
    ]
    name = html.escape(figures["model"])
    links = "".join(f'<a href="#{section.anchor}">{section.heading}</a>' for section in shown)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name} on {figures['split']}</title>",
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head><body>",
        f'<h1>{name}</h1><p class="soft">{html.escape(title(figures))}.</p>',
        '<div class="tiles">',
        *_tiles(figures),
        "</div>",
        f"<nav>{links}</nav>",
        _table(made["aims"]),
    ]
    for section in shown:
        parts += [f'<h2 id="{section.anchor}">{section.heading}</h2>']
        parts += [f"<p>{section.about}</p>"] if section.about else []
        drawn = [_picture(picture, light, dark) for picture in section.pictures if picture in light]
        parts += ['<div class="pair">', *drawn, "</div>"] if len(drawn) > 1 else drawn
        parts += [_table(made[key]) for key in section.tables if key in made]
    parts += [
        "<h2>Words</h2><dl>",
        *(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in WORDS.items()),
        "</dl>",
    ]
    return "\n".join(parts) + "</body></html>\n"


def _tiles(figures: Figures) -> Iterator[str]:
    for row in figures["aims"]:
        if not any(cell["aim"] is not None for cell in row["conditions"].values()):
            continue
        lines = []
        for condition, cell in row["conditions"].items():
            if cell["found"] is None:
                continue
            value, _, interval = (plain if row["ratio"] else rate)(cell["found"]).rpartition(" (")
            goal = f"{cell['aim']:g}" if row["ratio"] else f"{100 * cell['aim']:g} %"
            mark = "met" if cell["met"] else "missed"
            lines.append(
                f"<div><span>{name_of(condition)}</span><b class={mark}>{value}</b></div>"
                f"<div><small>({interval}</small><small>aim {goal}, {mark}</small></div>"
            )
        yield f'<div class="tile"><h3>{html.escape(row["name"])}</h3>{"".join(lines)}</div>'


def _picture(name: str, light: Pictures, dark: Pictures) -> str:
    words = name.replace("_", " ")
    day, night = (f"data:image/png;base64,{base64.b64encode(each[name]).decode()}" for each in (light, dark))
    return (
        f'<figure><picture><source srcset="{night}" media="(prefers-color-scheme: dark)">'
        f'<img src="{day}" alt="{words}" loading="lazy"></picture></figure>'
    )


def _table(sheet: Sheet) -> str:
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in sheet.head)
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in sheet.rows
    ]
    body = f'<div class="wide"><table><tr>{cells}</tr>{"".join(lines)}</table></div>'
    note = f'<p class="note">{html.escape(sheet.note)}</p>' if sheet.note else ""
    heading = html.escape(sheet.heading)
    if sheet.key in FOLDED:
        return f"<details><summary>{heading}</summary>{body}{note}</details>"
    return f"<h3>{heading}</h3>{body}{note}"
