"""Subscribe to a daemon's events from Python.

::

    async for event in subscribe("ws://127.0.0.1:8765/ws/events", types=["decision.changed"]):
        print(event.call_id, event.leg, event.decision)

The connection is made again whenever it is lost; the first event after each connection is a ``snapshot``,
from which a subscriber starts afresh. Needs no numpy and no model.
"""

import asyncio
import ipaddress
import json
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from fac_stream.errors import FacError, ProtocolError
from fac_stream.events import EVENT_TYPES, EVENTS, AnyEvent

DEFAULT_URL = "ws://127.0.0.1:8765/ws/events"
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 15.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A snapshot of the ten thousand calls that a daemon may hold fits."""

Lost = Callable[[str, float], None]
"""Told why the connection was lost, and in how many seconds it is tried again."""


async def subscribe(
    url: str = DEFAULT_URL,
    *,
    types: Iterable[str] | None = None,
    call_id: str | None = None,
    token: str | None = None,
    on_lost: Lost | None = None,
) -> AsyncGenerator[AnyEvent]:
    """Events as they are published, for ever; reconnects with growing pauses.

    Args:
        url: the daemon; ``http`` and ``https`` work too, and a missing path means ``/ws/events``.
        types: only these event types (the snapshot always comes).
        call_id: only this call.
        token: the daemon's ``server.token``.
        on_lost: called whenever the connection is lost or cannot be made.

    Raises:
        FacError: connecting again cannot help: wrong address, wrong token, not a FAC daemon.
        ProtocolError: the daemon sent something that is no event of wire version 1.
    """
    address = events_address(url, types=types, call_id=call_id)
    failures = 0
    while True:
        try:
            async with connect(address, **_options(address, token)) as connection:
                async for message in connection:
                    failures = 0
                    if (event := _event(message)) is not None:
                        yield event
                lost = "the daemon closed the connection"
        except (OSError, WebSocketException) as error:
            lost = _explain(error, address)
        pause_s = random.uniform(0.5, 1.0) * min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures, 8))  # noqa: S311 - spreads reconnects, no secret
        failures += 1
        if on_lost is not None:
            on_lost(lost, pause_s)
        await asyncio.sleep(pause_s)


def events_address(url: str, *, types: Iterable[str] | None = None, call_id: str | None = None) -> str:
    """The WebSocket address of a daemon's events.

    Raises:
        FacError: the URL is none, or names an event type that does not exist.
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        usable = parts.port is None or parts.port > 0
    except ValueError:
        parts, usable = SplitResult("", "", "", "", ""), False
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if not usable or scheme is None or not parts.hostname:
        raise FacError(f"{url!r} is no address of a daemon; it looks like {DEFAULT_URL}")
    wanted = list(types or ())
    if unknown := sorted(set(wanted) - set(EVENT_TYPES)):
        raise FacError(f"no such event type: {', '.join(unknown)}; there are: {', '.join(EVENT_TYPES)}")
    query = parse_qsl(parts.query)
    if wanted:
        query.append(("types", ",".join(wanted)))
    if call_id is not None:
        query.append(("call_id", call_id))
    path = parts.path if parts.path not in ("", "/") else "/ws/events"
    return parts._replace(scheme=scheme, path=path, query=urlencode(query, safe=","), fragment="").geturl()


def _options(address: str, token: str | None) -> dict[str, Any]:
    return {
        "additional_headers": {"Authorization": f"Bearer {token}"} if token else {},
        "open_timeout": OPEN_TIMEOUT_S,
        "close_timeout": CLOSE_TIMEOUT_S,
        "max_size": MAX_MESSAGE_BYTES,
        # A proxy for the outside world cannot reach this machine's own loopback.
        "proxy": None if _is_loopback(urlsplit(address).hostname or "") else True,
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _event(message: str | bytes) -> AnyEvent | None:
    """The event in a message; None for a type that this version does not know."""
    try:
        fields = json.loads(message)
        kind = fields.get("type") if isinstance(fields, dict) else None
        if isinstance(kind, str) and kind not in EVENT_TYPES:
            return None
        # Strict is who publishes; a field that a later version added is passed over like a type it added.
        return EVENTS.validate_python(fields, extra="ignore")
    except (ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ProtocolError(f"the daemon sent no event of wire version 1: {reason}") from None


def _explain(error: OSError | WebSocketException, address: str) -> str:
    """Why the connection was lost, in words; raises instead where trying again cannot help."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in (401, 403):
            raise FacError(f"the daemon refused us ({status}): is the token its server.token?") from None
        if status == 429 or status >= 500:
            return f"the daemon is full or not ready ({status})"
        raise FacError(f"{address} answers {status}: is there a FAC daemon?") from None
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return "the connection was closed in the handshake"
    if isinstance(error, InvalidURI | InvalidHandshake):
        raise FacError(f"{address} is not a FAC daemon: {error}") from None
    if isinstance(error, ConnectionClosed):
        close = error.rcvd
        return f"closed by the daemon: {close.code} {close.reason}".strip() if close else "connection lost"
    if isinstance(error, ssl.SSLCertVerificationError):
        raise FacError(
            f"the daemon's certificate is not trusted ({error.verify_message}): name the file of a "
            "self-signed one in the environment variable SSL_CERT_FILE"
        ) from None
    if isinstance(error, TimeoutError):
        return f"no answer from {address} within {OPEN_TIMEOUT_S:g} s"
    return f"cannot reach {address}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
