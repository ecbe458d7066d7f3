"""What is told of an alert, to whom, and what came of it: the words that hooks and outbox share.

A hook is anything that can ``send(message) -> Attempt``: it tries once, and raises nothing for what its
receiver does. How often and when is the outbox's business.
"""

import hashlib
import hmac
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import quote

from fac_stream.config_hooks import SEVERITIES, Hook
from fac_stream.events import AlertRaised, AlertResolved


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; the same bytes in every attempt."""

    message_id: str
    alert_id: str
    type: str
    body: bytes
    """JSON: an event of CloudEvents 1.0 with the alert's event as ``data``, and ``timestamp``, which is what
    Standard Webhooks calls ``time``."""

    @classmethod
    def of(cls, event: AlertRaised | AlertResolved) -> "Message":
        """The message that tells of an alert event; it happened now unless the event says when."""
        event = event.model_copy(update={"time": event.time or datetime.now(UTC)})
        time = event.model_dump(mode="json", include={"time"})["time"]
        message_id = f"{event.alert_id}.{event.type.removeprefix('alert.')}"
        about = {
            "type": event.type,
            "timestamp": time,
            "specversion": "1.0",
            "id": message_id,
            "source": _source(),
            "time": time,
            "datacontenttype": "application/json",
            **({"subject": event.call_id} if event.call_id else {}),
            "data": event.model_dump(mode="json", exclude={"seq", "time", "type"}),
        }
        return cls(message_id, event.alert_id, event.type, json.dumps(about).encode())

    @property
    def event(self) -> dict[str, Any]:
        """The body, read."""
        read: dict[str, Any] = json.loads(self.body)
        return read


@cache
def _source() -> str:
    """Where an event comes from, a URI reference: which machine's daemon."""
    return f"/fac-stream/{quote(socket.gethostname() or 'localhost', safe='')}"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who a hook is, without what is secret about it."""

    id: str
    """The same over restarts, and with another secret."""
    host: str
    """For people: a webhook's host, or a name from the configuration."""
    fingerprint: str
    """Of all its settings."""
    categories: tuple[str, ...] = ("fraud", "health")
    min_severity: str = "info"

    @classmethod
    def of(cls, hook: Hook) -> "Receiver":
        """The receiver that a configuration names."""
        settings = json.dumps(hook.model_dump(mode="json", exclude={"secret"}), sort_keys=True)
        key = b"".join(it.key for it in hook.keys)
        return cls(
            id=hashlib.sha256(hook.identity.encode()).hexdigest()[:16],
            host=hook.label,
            fingerprint=hmac.digest(key, settings.encode(), "sha256").hex()[:16],
            categories=tuple(hook.categories),
            min_severity=hook.min_severity,
        )

    def wants(self, message: Message) -> bool:
        """Whether it is to be told; what resolves an alert goes where the alert went."""
        data = message.event["data"]
        severe = SEVERITIES.index(data["severity"]) >= SEVERITIES.index(self.min_severity)
        return severe and data["category"] in self.categories


class Outcome(Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"
    """This message will never be taken."""
    GONE = "gone"
    """Nothing will ever be taken."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to hand a message over."""

    outcome: Outcome
    detail: str
    retry_after_s: float | None = None


Send = Callable[[Message], Awaitable[Attempt]]
