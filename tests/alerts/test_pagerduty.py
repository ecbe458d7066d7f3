import json

import pytest
from pydantic import ValidationError

from fac_stream.alerts import pagerduty
from fac_stream.alerts.hooks import opened
from fac_stream.alerts.message import Outcome
from fac_stream.config_hooks import PagerDuty
from tests.alerts.hook_servers import PagerDutyServer
from tests.alerts.test_outbox import message, resolved

KEY = "R0" + "a1" * 15


def hook(url="http://127.0.0.1:9", **settings):
    """A PagerDuty hook whose server is here."""
    return PagerDuty(name="on-call", routing_key=KEY, url=f"{url}/v2/enqueue", allow_private=True, **settings)


async def send(settings, *messages):
    """What comes of each message, sent in turn."""
    async with opened([settings]) as ((_, sender),):
        return [await sender(it) for it in messages]


async def test_an_alert_is_an_incident_until_it_is_over():
    """Raised triggers, resolved resolves, by the alert's id; what comes twice makes no second incident."""
    with PagerDutyServer(KEY) as server:
        raised = await send(hook(server.url), message(0), message(0), message(1))
        incidents = dict(server.incidents)
        over = await send(hook(server.url), resolved(0), resolved(0))

    assert {it.outcome for it in raised + over} == {Outcome.DELIVERED}
    assert incidents == {"alert_0": "triggered", "alert_1": "triggered"}
    assert server.incidents == {"alert_0": "resolved", "alert_1": "triggered"}
    event = server.get()
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["timestamp"] == "2026-11-23T10:14:07.512000Z"
    assert event["payload"]["custom_details"]["call_id"] == "c"


async def test_a_refused_key_is_not_tried_again():
    """400 is for good, and the reason does not repeat the key."""
    with PagerDutyServer("another") as server:
        (attempt,) = await send(hook(server.url), message())

    assert attempt.outcome is Outcome.REFUSED
    assert "routing_key" in attempt.detail
    assert KEY not in attempt.detail


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome", "pause"),
    [
        (202, None, Outcome.DELIVERED, None),
        (400, None, Outcome.REFUSED, None),
        (429, None, Outcome.RETRY, 120.0),
        (429, "7", Outcome.RETRY, 7.0),
        (500, None, Outcome.RETRY, None),
        (503, "30", Outcome.RETRY, 30.0),
        (302, None, Outcome.RETRY, None),
        (410, None, Outcome.RETRY, None),
    ],
)
def test_answers_are_judged(status, retry_after, outcome, pause):
    """As the vendor says: 202 is taken, 400 not tried again, all else later, after 429 minutes later."""
    attempt = pagerduty.judge(status, retry_after)

    assert (attempt.outcome, attempt.retry_after_s) == (outcome, pause)


def test_a_summary_is_never_too_long():
    """The vendor refuses more than 1024 characters."""
    event = pagerduty.event_of(hook(message="$alert_id " * 180), message())

    assert len(event["payload"]["summary"]) == 1024
    assert len(json.dumps(event)) < 512 * 1024


@pytest.mark.parametrize("key", ["", "short", KEY + "x", KEY[:-1] + "ä", KEY[:-1] + " "])
def test_what_is_no_routing_key_is_refused(key):
    """A key that PagerDuty would refuse is a fault of the configuration; it is not repeated."""
    with pytest.raises(ValidationError, match="Integration Key") as caught:
        PagerDuty(name="on-call", routing_key=key)

    assert not key or key not in caught.value.errors()[0]["msg"]
