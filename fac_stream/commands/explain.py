"""``fac explain``: why a voice was called synthetic."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fac_stream.commands.options import AsJson, ConfigFile, KeyFile
from fac_stream.commands.terminal import printable
from fac_stream.commands.training import training_part
from fac_stream.config_file import load
from fac_stream.errors import ConfigError, FacError

if TYPE_CHECKING:
    from fac_stream.audio.frames import Samples
    from fac_stream.config import Config
    from fac_stream.events import AlertRaised, Explanation


@dataclass(frozen=True, slots=True)
class Told:
    """What is explained."""

    name: str
    """An alert or a path."""
    leg: str
    decision: str
    at_s: float | None
    """When it was suspected, or a recording called synthetic; None where it never was."""
    explanation: "Explanation"
    scores: list[tuple[float, float | None]]
    """End of each window, and its score."""
    windows: "dict[tuple[float, float], Samples]"
    """Those to look into, by start and end."""
    note: str = ""
    """Why there are none."""


def explain(
    *,
    subject: Annotated[str, typer.Argument(help="Alert id, or a recording.", metavar="ALERT|RECORDING")],
    at_s: Annotated[
        float | None,
        typer.Option("--at", help="Look into the window around this second of the call.", min=0.0),
    ] = None,
    leg: Annotated[
        str | None, typer.Option(help="Whose voice; else the one most likely synthetic.", metavar="NAME")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture; explain-NAME.png unless given.", metavar="FILE")
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw it; that needs matplotlib.")] = True,
    as_json: AsJson = False,
    config: ConfigFile = None,
    key_file: KeyFile = None,
) -> None:
    """Explain why a voice was called synthetic.

    Prints the windows that drove the decision, each with its share of the evidence, and draws the scores over
    time and what mattered in the strongest windows: red parts spoke for a synthetic voice. Of an alert, this
    picture takes evidence that was kept; a recording is scored first. It says what the model heard, not that
    it was right: docs/explain.md tells how to read it.
    """
    from fac_stream.evidence.reading import with_key

    settings = with_key(load(config), key_file)
    if subject.startswith("alert_") and not Path(subject).exists():
        if leg is not None:
            raise typer.BadParameter("an alert is about one leg already", param_hint="--leg")
        told = _of_alert(subject, settings, at_s, look=picture)
    else:
        told = _of_recording(Path(subject), settings, leg, at_s)
    seen = _look_into(told, settings) if picture and told.windows else []
    target = out or Path(f"explain-{Path(told.name).stem}.png")
    if picture:
        _draw(target, told, seen)
    if as_json:
        typer.echo(json.dumps(_as_dict(told, seen, target if picture else None)))
        return
    for line in _lines(told):
        typer.echo(line)
    if picture:
        typer.echo(f"picture: {target}")


def _of_alert(alert: str, settings: "Config", at_s: float | None, *, look: bool) -> Told:
    from fac_stream.errors import StorageError

    raised = _raised(alert, settings)
    if raised.explanation is None or raised.leg is None:
        raise FacError(f"{raised.alert_id} is not about a voice, or from before alerts were explained")
    told = Told(
        name=raised.alert_id,
        leg=raised.leg,
        decision="suspected synthetic",
        at_s=raised.at_s,
        explanation=raised.explanation,
        scores=[(point.end_s, point.score) for point in raised.explanation.timeline],
        windows={},
    )
    if not look:
        return told
    try:
        return _with_evidence(told, settings, at_s)
    except (ConfigError, StorageError) as error:
        return replace(told, note=f"no look into its windows: {error}")


def _with_evidence(told: Told, settings: "Config", at_s: float | None) -> Told:
    from fac_stream.calls.explanation import strongest
    from fac_stream.evidence.folder import Folder
    from fac_stream.evidence.reading import read_evidence

    _, excerpt = read_evidence(settings, Folder(), told.name, "explain")
    windows = {(it.start_s, it.end_s): it for it in excerpt.record.windows}
    held = {span: it.score for span, it in windows.items() if it.score is not None}
    later = [(end_s, windows[start_s, end_s].score) for start_s, end_s in sorted(windows)]
    last_s = told.scores[-1][0] if told.scores else 0.0
    return replace(
        told,
        scores=[*told.scores, *(point for point in later if point[0] > last_s)],
        windows={span: excerpt.window(windows[span]) for span in strongest(told.explanation, held, at_s)},
    )


def _raised(alert: str, settings: "Config") -> "AlertRaised":
    """The alert that is, or begins with, this id."""
    from fac_stream.alerts.records import read
    from fac_stream.storage.database import opened_beside, state_file

    path = settings.alerts.database
    if path is None:
        raise ConfigError("alerts.database is null: alerts are in the daemon's memory only")
    with closing(opened_beside(state_file("alerts.db") if path == "auto" else Path(path))) as file:
        wanted = "SELECT DISTINCT alert_id FROM message WHERE substr(alert_id, 1, ?) = ? LIMIT 2"
        ids = [row[0] for row in file.execute(wanted, (len(alert), alert))]
        found = read(ids[0], file) if len(ids) == 1 else None
    if found is None:
        what = "more than one alert begins" if len(ids) > 1 else "no alert begins"
        raise FacError(f"{what} with {alert!r}; see: fac alerts list")
    return found.raised


def _of_recording(path: Path, settings: "Config", leg: str | None, at_s: float | None) -> Told:
    from fac_stream.audio.speech import SpeechGate
    from fac_stream.calls.explanation import strongest
    from fac_stream.calls.reasons import explain_recording, windows_at
    from fac_stream.scoring.backend import open_scorer

    scorer = open_scorer(settings.model)
    gate = SpeechGate(settings.speech.threshold, settings.speech.min_level_dbfs)
    reasons = explain_recording(path, scorer, gate, settings, leg)
    spans = strongest(reasons.explanation, reasons.scored, at_s)
    found = windows_at(path, settings.windows.hop_s, reasons.leg, [start_s for start_s, _ in spans])
    return Told(
        name=str(path),
        leg=reasons.leg,
        decision=reasons.decision.value,
        at_s=reasons.at_s,
        explanation=reasons.explanation,
        scores=[(row.end_s, row.score) for row in reasons.rows],
        windows={span: found[span[0]].samples for span in spans},
    )


def _look_into(told: Told, settings: "Config") -> list[dict[str, Any]]:
    """What mattered in each window, in the words of ``training.explanation.Seen``."""
    from fac_stream.scoring.backend import open_scorer
    from fac_stream.scoring.saliency import edges_hz, picture, saliency_of

    scorer = open_scorer(settings.model)
    if scorer.model != told.explanation.model:
        raise FacError(
            f"{told.name} was scored by {told.explanation.model}, and this is {scorer.model}: "
            "set model.bundle to the folder of that bundle, or add --no-picture"
        )
    seen = []
    for (start_s, end_s), samples in told.windows.items():
        saliency = saliency_of(samples, scorer)
        seen.append(
            {
                "start_s": start_s,
                "end_s": end_s,
                "llr": saliency.llr,
                "spectrum": picture(samples),
                "drops": saliency.drops,
                "edges_hz": edges_hz(),
            }
        )
    return seen


def _draw(path: Path, told: Told, seen: Sequence[dict[str, Any]]) -> None:
    driving = [(window.start_s, window.end_s) for window in told.explanation.windows]
    with training_part("explanation") as module:
        windows = [module.Seen(**each) for each in seen]
        try:
            module.draw(path, _headline(told), told.scores, driving, windows)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _headline(told: Told) -> str:
    when = "" if told.at_s is None else f" at {told.at_s:.1f} s"
    name = printable(Path(told.name).name)
    return f"{name}, {told.leg}: {told.decision}{when}; {told.explanation.model}"


def _lines(told: Told) -> list[str]:
    why = told.explanation
    lines = [_headline(told) + f", version {why.bundle_version}"]
    if told.note:
        lines.append(told.note)
    if why.quality:
        lines.append(f"less sure, as the sound is: {', '.join(why.quality)}")
    if not why.windows:
        lines.append("no window spoke for a synthetic voice")
    lines += [
        f"{window.weight:6.1%} of the evidence: {window.start_s:7.2f} to {window.end_s:7.2f} s, "
        f"score {window.score:.2f}  {' '.join(window.quality)}".rstrip()
        for window in why.windows
    ]
    return lines


def _as_dict(told: Told, seen: Sequence[dict[str, Any]], path: Path | None) -> dict[str, Any]:
    return {
        "subject": told.name,
        "leg": told.leg,
        "decision": told.decision,
        "at_s": told.at_s,
        "explanation": told.explanation.model_dump(mode="json"),
        "note": told.note,
        "looked_into": [
            {
                "start_s": each["start_s"],
                "end_s": each["end_s"],
                "llr": round(each["llr"], 3),
                "edges_hz": [round(float(edge), 1) for edge in each["edges_hz"]],
                "drops": [
                    [None if isnan(drop) else round(drop, 3) for drop in row]
                    for row in each["drops"].tolist()
                ],
            }
            for each in seen
        ],
        "picture": None if path is None else str(path),
    }
