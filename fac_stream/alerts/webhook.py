"""Signed webhook posts of alerts: Standard Webhooks 1.0.0.

Only a 2xx answer is success; redirects are not followed; 410 ends all posts to the receiver; ``Retry-After``
is honoured. Every attempt carries the same ``webhook-id``, so a receiver that sees an alert twice can tell.
"""

import email.utils
import time
from collections.abc import Mapping

import aiohttp

from fac_stream import __version__
from fac_stream.alerts.message import Attempt, Message, Outcome
from fac_stream.alerts.signature import sign
from fac_stream.config_hooks import Webhook

MAX_RETRY_AFTER_S = 3600.0
USER_AGENT = f"fac-stream/{__version__}"


async def post(session: aiohttp.ClientSession, hook: Webhook, message: Message) -> Attempt:
    """Try once. Never raises for what the receiver or the network does; cancelling it is safe."""
    timestamp = int(time.time())
    headers = {
        "webhook-id": message.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(hook.keys, message.message_id, timestamp, message.body),
    }
    answer = await exchange(session, hook.url, message.body, hook.timeout_s, headers)
    return answer if isinstance(answer, Attempt) else judge(*answer)


async def exchange(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str | None] | Attempt:
    """Post JSON: status and ``Retry-After`` of the answer, or what came of it where there is none."""
    headers = {"content-type": "application/json", "user-agent": USER_AGENT, **(headers or {})}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.post(
            url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("retry-after")
    except TimeoutError:
        return Attempt(Outcome.RETRY, f"no answer within {timeout_s:g} s")
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
    return Attempt(Outcome.RETRY, detail, seconds(retry_after))


def seconds(retry_after: str | None) -> float | None:
    """``Retry-After``, RFC 9110, 10.2.3: seconds or a date; anything else is ignored."""
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
