"""PagerDuty's Events API v2: an alert raised triggers an incident, an alert resolved resolves it.

Both carry the alert's id as ``dedup_key``, so that an event that comes twice changes nothing. Source:
PagerDuty's developer documentation, "Send an Alert Event" and "Response Codes & Retry Logic".
"""

import json

import aiohttp

from fac_stream.alerts.message import Attempt, Message, Outcome
from fac_stream.alerts.template import rendered
from fac_stream.alerts.webhook import exchange, seconds
from fac_stream.config_hooks import PagerDuty

MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255
THROTTLED_S = 120.0
"""After 429: "preferably with a backoff of a few minutes"."""


async def send(session: aiohttp.ClientSession, hook: PagerDuty, message: Message) -> Attempt:
    """Try once. Never raises for what PagerDuty or the network does; cancelling it is safe."""
    body = json.dumps(event_of(hook, message)).encode()
    answer = await exchange(session, hook.url, body, hook.timeout_s)
    return answer if isinstance(answer, Attempt) else judge(*answer)


def event_of(hook: PagerDuty, message: Message) -> dict[str, object]:
    """The body that is posted."""
    about = message.event
    event: dict[str, object] = {
        "routing_key": hook.routing_key.get_secret_value(),
        "event_action": "resolve" if message.type == "alert.resolved" else "trigger",
        "dedup_key": message.alert_id[:MAX_DEDUP_KEY],
    }
    if message.type == "alert.resolved":
        return event
    return event | {
        "client": "FAC Stream",
        "payload": {
            "summary": rendered(hook.message, message)[:MAX_SUMMARY],
            "source": about["source"],
            "severity": about["data"]["severity"],
            "timestamp": about["time"],
            "component": about["data"]["leg"] or "daemon",
            "group": about["data"]["category"],
            "class": about["data"]["rule"],
            "custom_details": about["data"],
        },
    }


def judge(status: int, retry_after: str | None = None) -> Attempt:
    """What an HTTP answer means for the delivery."""
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED, detail)
    if status == 400:
        return Attempt(Outcome.REFUSED, f"{detail}: PagerDuty refuses the event: is routing_key right?")
    pause_s = seconds(retry_after)
    return Attempt(Outcome.RETRY, detail, THROTTLED_S if status == 429 and pause_s is None else pause_s)
