"""``fac replay``: the scores of an alert, once more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fac_stream.commands.options import AsJson, ConfigFile, KeyFile
from fac_stream.commands.terminal import printable
from fac_stream.config_file import load

if TYPE_CHECKING:
    from fac_stream.evidence.record import Backend, Record
    from fac_stream.evidence.replay import Replayed
    from fac_stream.evidence.sealed import Header


def replay(
    *,
    alert: Annotated[str, typer.Argument(help="Alert id, or how it begins.", metavar="ALERT")],
    config: ConfigFile = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="The bundle that scored it; without, the configuration's.", metavar="FOLDER"),
    ] = None,
    key_file: KeyFile = None,
    wav: Annotated[
        Path | None, typer.Option(help="Write its audio there, decrypted.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score the evidence of an alert again.

    The bundle that scored it does.

    On the backend that scored it (that is in the evidence, with its version and the processor) the scores are
    the same bit for bit; exit code 1 where one is not. Who reads evidence stands in the audit log.
    """
    from fac_stream.evidence.backend import backend_of
    from fac_stream.evidence.folder import Folder
    from fac_stream.evidence.reading import full_id, read_evidence, with_key
    from fac_stream.evidence.replay import replay as score_again
    from fac_stream.evidence.wav import write_wav
    from fac_stream.scoring.backend import open_scorer

    settings, folder = with_key(load(config), key_file), Folder()
    header, excerpt = read_evidence(settings, folder, full_id(folder, alert), "export" if wav else "replay")
    if wav:
        write_wav(wav, excerpt.timeline())
    then = excerpt.record.backend
    changes = {"backend": then.name, "device": then.device, "threads": then.threads}
    wanted = {**changes, "bundle": bundle or settings.model.bundle}
    scorer = open_scorer(settings.model.model_copy(update=wanted))
    results, now = score_again(excerpt, scorer), backend_of(scorer, then.threads)
    if as_json:
        typer.echo(json.dumps(_as_dict(header, excerpt.record, results, now)))
    else:
        for line in _lines(header, excerpt.record, results, now):
            # Call ids come from outside: one must not steer the terminal.
            typer.echo(printable(line))
    if not all(result.same for result in results):
        raise typer.Exit(1)


def _as_dict(header: "Header", record: "Record", results: "list[Replayed]", now: "Backend") -> dict[str, Any]:
    again = {result.window.index: result.score for result in results}
    windows = [
        {"start_s": it.start_s, "end_s": it.end_s, **it.model_dump(mode="json"), "again": again.get(it.index)}
        for it in record.windows
    ]
    return {
        **header.model_dump(mode="json"),
        **record.model_dump(mode="json", exclude={"windows", "pieces"}),
        "replayed_by": now.model_dump(mode="json"),
        "same": all(result.same for result in results),
        "windows": windows,
    }


def _lines(header: "Header", record: "Record", results: "list[Replayed]", now: "Backend") -> Iterator[str]:
    yield f"{record.alert_id}: {record.leg} of call {record.call_id}, raised at {record.at_s:.2f} s"
    yield f"kept for: {header.purpose}, until {header.keep_until:%Y-%m-%d}"
    yield "   from       to  score   again   decision    quality"
    again = {result.window.index: result for result in results}
    for window in record.windows:
        result = again.get(window.index)
        scores = f"{'-':<7} {window.skipped or '':<7}"
        if result:
            scores = f"{window.score:.4f}  {result.score:.4f} {'' if result.same else '!'}"
        flags = ", ".join([*window.quality, *(["telephone"] if window.telephone else [])])
        yield f"{window.start_s:7.2f}  {window.end_s:7.2f}  {scores:<15} {window.decision:<10}  {flags}"
    yield _verdict(record, results, now)


def _verdict(record: "Record", results: "list[Replayed]", now: "Backend") -> str:
    by = f"{record.bundle} on {now.runtime}, {now.device}"
    most = max((abs(result.score - (result.window.score or 0.0)) for result in results), default=0.0)
    if all(result.same for result in results):
        return f"{len(results)} windows scored again by {by}: the same, bit for bit"
    if now == record.backend:
        return f"{len(results)} windows scored again by {by}: not the same, by up to {most:.1e}"
    then = record.backend
    return (
        f"{len(results)} windows scored again by {by} ({now.processor}): up to {most:.1e} from the scores of "
        f"{then.runtime}, {then.device} ({then.processor})"
    )
