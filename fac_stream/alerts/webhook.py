"""Signed webhook posts of alerts: Standard Webhooks 1.0.0.

One body per alert event, ``{"type", "timestamp", "data"}``. Only a 2xx answer is success; redirects are not
followed; 410 ends all posts to the receiver; ``Retry-After`` is honoured. Every attempt carries the same
``webhook-id``, so a receiver that sees an alert twice can tell.
"""

import email.utils
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from urllib.parse import urlsplit

import aiohttp

from fac_stream import __version__
from fac_stream.alerts.signature import sign
from fac_stream.config_alerts import Webhook
from fac_stream.events import AlertRaised, AlertResolved

MAX_RETRY_AFTER_S = 3600.0
USER_AGENT = f"fac-stream/{__version__}"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who a webhook is, without what is secret about it."""

    id: str
    """Of its URL: the same over restarts, and with another secret."""
    host: str
    """For people: the path of a webhook is often its password."""
    fingerprint: str
    """Of all its settings."""

    @classmethod
    def of(cls, hook: Webhook) -> "Receiver":
        """The receiver that a configuration names."""
        settings = json.dumps(hook.model_dump(mode="json", exclude={"secret"}), sort_keys=True)
        return cls(
            id=hashlib.sha256(hook.url.encode()).hexdigest()[:16],
            host=urlsplit(hook.url).hostname or "",
            fingerprint=hmac.digest(hook.key, settings.encode(), "sha256").hex()[:16],
        )


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted; the same bytes in every attempt."""

    message_id: str
    alert_id: str
    type: str
    body: bytes

    @classmethod
    def of(cls, event: AlertRaised | AlertResolved) -> "Message":
        """The message that tells of an alert event; it happened now unless the event says when."""
        event = event.model_copy(update={"time": event.time or datetime.now(UTC)})
        data = event.model_dump(mode="json", exclude={"seq", "time", "type"})
        timestamp = event.model_dump(mode="json", include={"time"})["time"]
        body = json.dumps({"type": event.type, "timestamp": timestamp, "data": data}).encode()
        message_id = f"{event.alert_id}.{event.type.removeprefix('alert.')}"
        return cls(message_id, event.alert_id, event.type, body)


class Outcome(Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to hand a message over."""

    outcome: Outcome
    detail: str
    retry_after_s: float | None = None


async def post(session: aiohttp.ClientSession, hook: Webhook, message: Message) -> Attempt:
    """Try once. Never raises for what the receiver or the network does; cancelling it is safe."""
    timestamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": message.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(hook.key, message.message_id, timestamp, message.body),
    }
    timeout = aiohttp.ClientTimeout(total=hook.timeout_s)
    try:
        async with session.post(
            hook.url, data=message.body, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            return judge(answer.status, answer.headers.get("retry-after"))
    except TimeoutError:
        return Attempt(Outcome.RETRY, f"no answer within {hook.timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # ValueError: host names that no resolver takes, such as a label of 70 letters.
        return Attempt(Outcome.RETRY, _say(error))


def _say(error: Exception) -> str:
    """The error without the address: some of aiohttp's messages repeat it, password and all."""
    kind = type(error).__name__
    match error:
        case aiohttp.ClientConnectorError():
            return f"{kind}: {error}"  # host and port
        case OSError():
            return f"{kind}: {error.strerror or 'connection lost'}"
        case aiohttp.ClientResponseError():
            return f"{kind}: {error.message}"
    return kind


def judge(status: int, retry_after: str | None = None) -> Attempt:
    """What an HTTP answer means for the delivery."""
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED, detail)
    if status == 410:
        return Attempt(Outcome.GONE, detail)
    return Attempt(Outcome.RETRY, detail, _seconds(retry_after))


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, 10.2.3: seconds or a date; anything else is ignored."""
    if retry_after is None:
        return None
    try:
        if retry_after.isascii() and retry_after.isdigit():
            seconds = float(retry_after[:9])  # more digits say no more: it is bounded anyway
        else:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
