"""``fac explain``: why a voice was called synthetic."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.commands.training import training_part
from fac_stream.config_file import load
from fac_stream.errors import ConfigError

if TYPE_CHECKING:
    from fac_stream.audio.frames import Samples
    from fac_stream.config import Config
    from fac_stream.events import Explanation
    from fac_stream.scoring.base import Scorer


@dataclass(frozen=True, slots=True)
class Told:
    """What is explained."""

    name: str
    """An alert or a path."""
    leg: str
    decision: str
    at_s: float | None
    explanation: "Explanation"
    scores: list[tuple[float, float | None]]
    """End of each window, and its score."""
    windows: "dict[tuple[float, float], Samples]"
    """Those to look into, by start and end."""


def explain(
    *,
    subject: Annotated[str, typer.Argument(help="A recording.", metavar="RECORDING")],
    at_s: Annotated[
        float | None, typer.Option("--at", help="Look into the window around this second.", min=0.0)
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
) -> None:
    """Explain why a voice was called synthetic.

    Prints the windows that drove the decision, each with its share of the evidence, and draws the scores over
    time and what mattered in the strongest windows: parts in red spoke for a synthetic voice. That says what
    the model looked at, not that it was right; see docs/explain.md.
    """
    settings = load(config)
    from fac_stream.scoring.backend import open_scorer

    scorer = open_scorer(settings.model)
    told = _of_recording(Path(subject), scorer, settings, leg, at_s)
    seen = _look_into(told, scorer) if picture else []
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


def _of_recording(
    path: Path, scorer: "Scorer", settings: "Config", leg: str | None, at_s: float | None
) -> Told:
    from fac_stream.audio.speech import SpeechGate
    from fac_stream.calls.reasons import explain_recording, spans_to_look_into, windows_at

    gate = SpeechGate(settings.speech.threshold, settings.speech.min_level_dbfs)
    reasons = explain_recording(path, scorer, gate, settings, leg)
    spans = spans_to_look_into(reasons, at_s)
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


def _look_into(told: Told, scorer: "Scorer") -> list[dict[str, Any]]:
    """What mattered in each window, in the words of ``training.explanation.Seen``."""
    from fac_stream.scoring.saliency import edges_hz, picture, saliency_of

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
    name = "".join(c if c.isprintable() else "?" for c in Path(told.name).name)
    return f"{name}, {told.leg}: {told.decision}{when}; {told.explanation.model}"


def _lines(told: Told) -> list[str]:
    why = told.explanation
    lines = [_headline(told) + f", version {why.bundle_version}"]
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
    import numpy as np

    return {
        "subject": told.name,
        "leg": told.leg,
        "decision": told.decision,
        "at_s": told.at_s,
        "explanation": told.explanation.model_dump(mode="json"),
        "looked_into": [
            {
                "start_s": each["start_s"],
                "end_s": each["end_s"],
                "llr": round(each["llr"], 3),
                "edges_hz": [round(float(edge), 1) for edge in each["edges_hz"]],
                "drops": np.where(np.isnan(each["drops"]), None, each["drops"].round(3)).tolist(),
            }
            for each in seen
        ],
        "picture": None if path is None else str(path),
    }
