"""``fac watch``: what a daemon hears, in the terminal."""

import asyncio
import sys
from contextlib import aclosing
from typing import Annotated

import typer

from fac_stream.client import DEFAULT_URL, Lost, subscribe
from fac_stream.commands.options import AsJson
from fac_stream.events import (
    AlertMarked,
    AlertRaised,
    AlertResolved,
    AnyEvent,
    CallDeleted,
    CallEnded,
    CallStarted,
    DecisionChanged,
    HealthChanged,
    Snapshot,
    WindowScored,
    encode,
)


def watch(
    *,
    url: Annotated[str, typer.Argument(help="The daemon's address.")] = DEFAULT_URL,
    as_json: AsJson = False,
    token: Annotated[
        str | None,
        typer.Option(help="The daemon's server.token.", envvar="FAC_SERVER__TOKEN", show_envvar=True),
    ] = None,
) -> None:
    """Show what a running daemon hears.

    It connects again when the daemon was gone. In a terminal it is a table, elsewhere every event is one
    line. Ctrl-C ends it.
    """
    if not as_json and sys.stdout.isatty():
        asyncio.run(_table(url, token))
    else:
        asyncio.run(_lines(url, token, as_json=as_json))


async def _lines(url: str, token: str | None, *, as_json: bool) -> None:
    async with aclosing(subscribe(url, token=token, on_lost=_tell_lost)) as events:
        async for event in events:
            typer.echo(encode(event) if as_json else line(event))


async def _table(url: str, token: str | None) -> None:
    from rich.live import Live

    from fac_stream.commands.board import Board

    board = Board(url)
    lost: Lost = board.lost
    with Live(get_renderable=board.table, refresh_per_second=4):
        async with aclosing(subscribe(url, token=token, on_lost=lost)) as events:
            async for event in events:
                board.apply(event)


def _tell_lost(reason: str, pause_s: float) -> None:
    typer.echo(f"fac: {reason}; trying again in {pause_s:.1f} s", err=True)


def line(event: AnyEvent) -> str:
    """One event as one line for people."""
    clock = event.time.astimezone().strftime("%H:%M:%S") if event.time else "--:--:--"
    where = "/".join(part for part in (event.call_id, event.leg) if part)
    return "  ".join(part for part in (clock, f"{event.type:<16}", where, _what(event)) if part)


def _what(event: AnyEvent) -> str:
    match event:
        case Snapshot():
            text = f"{len(event.calls)} calls going on, scored by {event.model} on {event.device}"
        case CallStarted():
            text = f"{event.source}, legs {', '.join(event.legs)}, {event.sample_rate} Hz"
        case WindowScored():
            score = f"score {event.score:.2f}" if event.score is not None else f"no score: {event.skipped}"
            text = f"{event.end_s:.1f} s  {score}  {event.decision}"
        case DecisionChanged():
            text = f"{event.at_s:.1f} s  {event.previous} -> {event.decision}"
        case AlertRaised() | AlertResolved() | AlertMarked():
            text = _alert(event)
        case HealthChanged():
            text = f"{event.status}: {event.detail}"
        case CallDeleted():
            text = "nothing is kept of it any more"
        case CallEnded():
            text = f"{event.reason} after {event.duration_s:.1f} s" + (
                f": {event.detail}" if event.detail else ""
            )
    return text


def _alert(event: AlertRaised | AlertResolved | AlertMarked) -> str:
    match event:
        case AlertRaised():
            text = f"{event.severity}: {event.summary}"
        case AlertResolved():
            text = f"{event.rule}: {event.reason}"
        case AlertMarked():
            text = f"{event.mark} by {event.by}" + (f": {event.note}" if event.note else "")
    return text
