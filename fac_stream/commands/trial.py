"""``fac alerts test``: a test alert to each hook, at once and past the outbox."""

import asyncio
import json
import logging
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from fac_stream.commands.options import AsJson, ConfigFile
from fac_stream.config_file import load
from fac_stream.config_hooks import Hook
from fac_stream.errors import ConfigError


def try_hooks(
    *,
    config: ConfigFile = None,
    hook: Annotated[
        str | None, typer.Option("--hook", help="Only this one: a name, or a webhook's host.", metavar="NAME")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test alert to each hook, then that it is over, and say what came of it.

    Once and without retries; categories and min_severity do not matter. Exit code 1 where a hook failed.
    """
    hooks = [it for it in load(config).alerts.hooks if hook in (None, it.label)]
    if not hooks:
        raise ConfigError(f"no hook is called {hook!r}" if hook else "alerts has no hooks: see docs/hooks.md")
    results = asyncio.run(_try_all(hooks))
    for result in results:
        typer.echo(json.dumps(result) if as_json else _line(result))
    if not all(result["delivered"] for result in results):
        raise typer.Exit(1)


async def _try_all(hooks: Sequence[Hook]) -> list[dict[str, Any]]:
    from fac_stream.alerts.hooks import opened

    async with opened(hooks) as ready:
        with _apprise_heard():
            return [await _try(hook, send) for hook, send in ready]


async def _try(hook: Hook, send: Callable[[Any], Awaitable[Any]]) -> dict[str, Any]:
    from fac_stream.alerts.message import Outcome

    attempts, delivered = [], True
    for message in _messages():
        if delivered:
            attempt = await send(message)
            delivered = attempt.outcome is Outcome.DELIVERED
            attempts.append(
                {"type": message.type, "webhook_id": message.message_id, "detail": attempt.detail}
            )
    return {"hook": hook.label, "kind": hook.kind, "delivered": delivered, "attempts": attempts}


@contextmanager
def _apprise_heard() -> Iterator[None]:
    """Print what Apprise has to say, which the daemon keeps out of its log."""
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger("apprise").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("apprise").removeHandler(handler)


def _messages() -> list[Any]:
    from fac_stream.alerts.message import Message
    from fac_stream.events import AlertRaised, AlertResolved

    about: dict[str, Any] = {
        "alert_id": f"alert_{uuid.uuid4().hex}",
        "call_id": "test",
        "leg": "caller",
        "rule": "test",
        "severity": "info",
        "at_s": 0.0,
    }
    raised = AlertRaised(
        **about, summary="A test: FAC Stream's alerts arrive here", smoothed=None, speech_s=0.0, model="test"
    )
    return [Message.of(raised), Message.of(AlertResolved(**about, reason="cleared"))]


def _line(result: dict[str, Any]) -> str:
    said = ", ".join(f"{it['type'].removeprefix('alert.')}: {it['detail']}" for it in result["attempts"])
    return f"{'ok    ' if result['delivered'] else 'FAILED'}  {result['kind']} {result['hook']}  {said}"
