"""The tables of an evaluation, made once, shown on the terminal and in the report."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from training.breakdowns import MIN_CLIPS
from training.canvas import name_of

Figures = dict[str, Any]
Cells = list[list[str]]

NONE = "-"
MAIN = {
    "eer": "EER",
    "auc": "AUC",
    "cllr": "Cllr",
    "min_cllr": "min Cllr",
    "act_dcf": "actDCF",
    "min_dcf": "minDCF",
    "false_alarms": "false alarms, p > 0.5",
    "misses": "missed, p > 0.5",
    "accuracy": "accuracy",
    "f1": "F1",
    "precision": "precision",
}
PLAIN = {"auc", "cllr", "min_cllr", "min_dcf", "act_dcf", "dcf_ratio"}
"""Figures that are no rates."""
LEVELS = {
    "clip_over_sources": "whole clips, intervals over generators and human sources",
    "clip": "whole clips, intervals over clips",
    "window": "one 2-s window a clip, intervals over generators and human sources",
}
GROUPS = {"by_kind": "kind", "by_era": "era", "by_generator": "generator"}
WORST_ON_TERMINAL = 3


@dataclass(frozen=True)
class Sheet:
    """A table in words."""

    key: str
    heading: str
    head: list[str]
    rows: Cells
    note: str = ""


def sheets(figures: Figures) -> dict[str, Sheet]:
    """All tables that the findings give, by key."""
    found = figures["conditions"]
    made = [
        aims_sheet(figures),
        *(_levels(found, level) for level in LEVELS),
        _alerts(figures),
        *(_groups(found, key) for key in GROUPS),
        _languages(found["wideband"]),
        _worst(found),
        _sources(found),
        _durations(found),
        *_neither(figures),
        *_speech(found),
        *_probes(figures["probes"]),
        *_peers(figures["peers"]),
    ]
    return {sheet.key: sheet for sheet in made if sheet.rows}


def aims_sheet(figures: Figures) -> Sheet:
    """The table that comes first."""
    conditions = list(figures["aims"][0]["conditions"])
    rows = []
    for row in figures["aims"]:
        cells = (aim_cell(row["conditions"][condition], ratio=row["ratio"]) for condition in conditions)
        rows.append([row["name"], *cells])
    note = (
        "95 % intervals: over generators and human sources for EER and DCF, Wilson's for shares. An alert is"
        f" raised from probability {figures['alert_threshold']:g}. The worst human source is among those with"
        f" at least {MIN_CLIPS} clips."
    )
    return Sheet("aims", "Aims", ["", *map(name_of, conditions)], rows, note)


def aim_cell(cell: Figures, *, ratio: bool) -> str:
    """Value, interval, whose it is, and whether the aim is met."""
    if cell["found"] is None:
        return NONE
    text = plain(cell["found"]) if ratio else rate(cell["found"])
    if "name" in cell["found"]:
        text += f"\n{cell['found']['name']}"
    if cell["aim"] is None:
        return text
    goal = f"{cell['aim']:g}" if ratio else f"{100 * cell['aim']:g} %"
    return f"{text}\naim {goal} {'✓' if cell['met'] else '✗'}"


def _levels(found: Figures, level: str) -> Sheet:
    rows = [
        [name_of(condition), *(_figure(name, row[level][name]) for name in MAIN)]
        for condition, row in found.items()
    ]
    return Sheet(level, LEVELS[level].capitalize(), ["", *MAIN.values()], rows)


def _alerts(figures: Figures) -> Sheet:
    rows = []
    for condition, row in figures["conditions"].items():
        worst = row["false_alarm_summary"]["alert"]["worst"]
        rows.append(
            [
                name_of(condition),
                rate(row["alert"]["false_alarms"]),
                rate(row["alert"]["misses"]),
                f"{rate(worst)}\n{worst['name']}",
                rate(row["false_alarm_summary"]["alert"]["mean"]),
            ]
        )
    head = ["", "false alarms, all clips", "missed", "worst human source", "mean of the sources"]
    heading = f"At the alert threshold of clips, probability {figures['alert_threshold']:g}"
    return Sheet("alerts", heading, head, rows)


def _groups(found: Figures, key: str) -> Sheet:
    others = {
        condition: {row["name"]: row for row in each[key]}
        for condition, each in found.items()
        if condition != "wideband"
    }
    head = [GROUPS[key], "clips", "AUC", "EER", "missed, p > 0.5", "no alert"]
    head += [f"EER {name_of(condition)}" for condition in others]
    rows = [
        [
            row["name"],
            str(row["clips"]),
            plain(row["auc"]),
            rate(row["eer"]),
            rate(row["missed"]["even"]),
            rate(row["missed"]["alert"]),
            *(f"{100 * other[row['name']]['eer']['value']:.1f} %" for other in others.values()),
        ]
        for row in found["wideband"][key]
    ]
    note = f"Synthetic clips against all human ones, hardest first; {name_of('wideband')} unless said."
    return Sheet(key, f"By {GROUPS[key]}", head, rows, note)


def _languages(found: Figures) -> Sheet:
    rows = [
        [row["name"], *_language(row["human"], ("even", "alert")), *_language(row["synthetic"], ("even",))]
        for row in found["by_language"]
    ]
    head = ["language", "human clips", "false alarms, p > 0.5", "alerts", "synthetic clips", "found, p > 0.5"]
    return Sheet("by_language", f"By language, {name_of('wideband')}", head, rows)


def _language(part: Figures, thresholds: tuple[str, ...]) -> list[str]:
    if not part["clips"]:
        return [NONE] * (1 + len(thresholds))
    return [str(part["clips"]), *(rate(part[threshold]) for threshold in thresholds)]


def _worst(found: Figures) -> Sheet:
    rows = [
        [
            name_of(condition),
            row["generator"],
            row["source"],
            f"{row['auc']:.3f}",
            f"{100 * row['eer']:.1f} %",
            " / ".join(map(str, row["clips"])),
        ]
        for condition in ("wideband", "g711")
        if condition in found
        for row in found[condition]["worst_cells"]
    ]
    head = ["", "generator", "against humans of", "AUC", "EER", "clips"]
    note = f"The hardest pairs of a generator and a human source with at least {MIN_CLIPS} clips each."
    return Sheet("worst_cells", "Worst cells", head, rows, note)


def _sources(found: Figures) -> Sheet:
    other = {row["name"]: row for row in found["g711"]["false_alarms"]} if "g711" in found else {}
    rows = []
    for row in found["wideband"]["false_alarms"]:
        over = other.get(row["name"])
        cells = [rate(over[threshold]) if over else NONE for threshold in ("even", "alert")]
        rows.append([row["name"], str(row["clips"]), rate(row["even"]), rate(row["alert"]), *cells])
    head = ["human source", "clips", "p > 0.5", "alert", "p > 0.5, G.711", "alert, G.711"]
    return Sheet("false_alarms", "False alarms by human source", head, rows)


def _durations(found: Figures) -> Sheet:
    rows = [
        [
            name_of(condition),
            f"{row['seconds']} s",
            rate(row["eer"]),
            plain(row["auc"]),
            f"{row['calls']['real']} / {row['calls']['fake']}",
        ]
        for condition, each in found.items()
        for row in each["durations"]
    ]
    note = (
        "Clips are about three seconds long, so a call is joined from 2-s windows of several clips of one"
        " generator or human source, in the order of the speakers; intervals over these voices."
    )
    head = ["", "of one voice", "EER", "AUC", "calls, human / synthetic"]
    return Sheet("durations", "Score against duration", head, rows, note)


GATES = {
    "ungated": "no gate",
    "gated": "as the daemon gates",
    "silero_gate": "silero-vad alone",
    "own_gate": "own speech output alone",
}
NEITHER = {
    "nonspeech": "Non-speech called synthetic",
    "codec": "Human speech through codecs, called synthetic",
}


def _neither(figures: Figures) -> Iterator[Sheet]:
    note = (
        f"The daemon asks for {figures['min_speech_s']:g} s of speech in a window after silero-vad and, where"
        " the network tells speech, for its word as well. By group: " + name_of("wideband") + "."
    )
    for key, heading in NEITHER.items():
        parts = {name_of(condition): row[key] for condition, row in figures["conditions"].items() if row[key]}
        if not parts:
            continue
        wideband = figures["conditions"]["wideband"][key]
        shown = [gate for gate in GATES if gate in wideband]
        rows = [
            [
                name,
                str(row["clips"]),
                *(rate(row[gate][threshold]) for gate in shown for threshold in ("even", "alert")),
            ]
            for name, row in [*parts.items(), *((row["name"], row) for row in wideband["groups"])]
        ]
        head = [f"{threshold}, {GATES[gate]}" for gate in shown for threshold in ("p > 0.5", "alert")]
        yield Sheet(key, heading, ["", "clips", *head], rows, note)


def _speech(found: Figures) -> Iterator[Sheet]:
    rows = []
    for condition, each in found.items():
        for key, words in (("silero", "silero-vad"), ("own", "the network's own")):
            row = each["speech_detection"] and each["speech_detection"][key]
            if row:
                cells = [plain(row["auc"]), rate(row["eer"]), rate(row["kept"]), rate(row["let_through"])]
                rows.append([name_of(condition), words, *cells])
    if rows:
        count = found["wideband"]["speech_detection"]["windows"]
        note = f"{count['speech']} windows of human and synthetic speech, {count['nonspeech']} of non-speech."
        head = ["", "by", "AUC", "EER", "speech kept", "non-speech let through"]
        yield Sheet("speech_detection", "Speech against non-speech", head, rows, note)


def _probes(probes: list[Figures]) -> Iterator[Sheet]:
    rows = [[row["name"], plain(row["plain"]), plain(row["paired"])] for row in probes]
    note = (
        "AUC of a small tree that sees only this, fitted on split train. Paired: as training draws, a fake"
        " with a human of its page or with its original."
    )
    yield Sheet("probes", "Shortcuts", ["what it sees", "all clips", "paired"], rows, note)


def _peers(peers: list[Figures]) -> Iterator[Sheet]:
    rows = [
        [
            peer["name"],
            f"{peer['window_s']:g} s",
            name_of(condition),
            rate(row["eer"]),
            plain(row["auc"]),
            rate(row["false_alarms"]),
            rate(row["misses"]),
            rate(row["sources"]["worst"]),
            plain(row["cllr"]),
            plain(row["min_cllr"]),
            rate(row["nonspeech"]) if row["nonspeech"] else NONE,
        ]
        for peer in peers
        for condition, row in peer["conditions"].items()
    ]
    head = ["", "window", "", "EER", "AUC", "false alarms", "missed", "worst source", "Cllr", "min Cllr"]
    note = (
        "Whole clips; a peer's score is the mean of its windows'. Each decides above its own threshold. Cllr"
        " takes scores less threshold for log-likelihood ratios, whether or not their maker meant them so."
    )
    yield Sheet("peers", "Side by side on the same clips", [*head, "non-speech"], rows, note)


def _figure(name: str, row: Figures) -> str:
    return plain(row) if name in PLAIN else rate(row)


def rate(row: Figures) -> str:
    """A rate in percent with its interval."""
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.1f}-{100 * row['high']:.1f})"


def plain(row: Figures) -> str:
    """A number with its interval."""
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
