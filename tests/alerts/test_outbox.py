import asyncio
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
import standardwebhooks
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fac_stream.alerts import outbox as outbox_module
from fac_stream.alerts.guard import guarded
from fac_stream.alerts.message import Attempt, Message, Outcome
from fac_stream.alerts.outbox import MAX_PAUSE_S, Outbox
from fac_stream.alerts.webhook import judge, post
from fac_stream.config_hooks import Webhook
from fac_stream.events import AlertRaised, AlertResolved

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(number=0):
    """The message of an alert with an id of its own."""
    event = AlertRaised(
        call_id="c",
        leg="caller",
        alert_id=f"alert_{number}",
        rule="synthetic-voice",
        severity="critical",
        summary="…",
        at_s=4.0,
        smoothed=0.95,
        speech_s=3.0,
        model="m",
        time=datetime(2026, 11, 23, 10, 14, 7, 512000, UTC),
    )
    return Message.of(event)


class Receiver:
    """A webhook receiver that answers with the scripted statuses, then 200."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.posts = []
        self.seen = asyncio.Condition()

    async def handle(self, request):
        """Answer one post."""
        body = await request.read()
        answer = self.answers.pop(0) if self.answers else web.Response()
        async with self.seen:
            self.posts.append((request.headers, body))
            self.seen.notify_all()
        return answer if isinstance(answer, web.StreamResponse) else web.Response(status=answer)

    async def wait_for(self, count):
        """Wait until so many posts arrived."""
        async with asyncio.timeout(20), self.seen:
            await self.seen.wait_for(lambda: len(self.posts) >= count)


@pytest.fixture
async def deliver():
    """Start a receiver and an outbox that posts to it; gives (outbox, counts)."""
    async with asyncio.TaskGroup() as group, guarded([ip_network("127.0.0.0/8")]) as session:
        servers, tasks = [], []

        async def start(receiver, **settings):
            app = web.Application()
            app.router.add_post("/hook", receiver.handle)
            server = TestServer(app)
            await server.start_server()
            servers.append(server)
            settings = {"first_retry_s": 0.01, **settings}
            hook = Webhook(url=str(server.make_url("/hook")), secret=SECRET, **settings)
            counts = []
            outbox = Outbox(hook, lambda it: post(session, hook, it), counts.append)
            tasks.append(group.create_task(outbox.run()))
            return outbox, counts

        yield start
        for task in tasks:
            task.cancel()
        for server in servers:
            await server.close()


async def test_an_alert_is_posted_and_signed(deliver):
    """One post, with the Standard Webhooks headers, a signature that verifies, and the event as data."""
    receiver = Receiver()
    outbox, counts = await deliver(receiver)

    outbox.put(message())
    await receiver.wait_for(1)
    await outbox.drain()

    ((headers, body),) = receiver.posts
    data = standardwebhooks.Webhook(SECRET).verify(body, dict(headers))
    assert headers["webhook-id"] == data["id"] == "alert_0.raised"
    assert data["type"] == "alert.raised"
    assert data["timestamp"] == data["time"] == "2026-11-23T10:14:07.512000Z"
    assert tuple(data["data"][k] for k in ("call_id", "leg", "smoothed")) == ("c", "caller", 0.95)
    assert counts == ["delivered"]
    assert outbox.pending == 0


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302])
async def test_failures_are_tried_again_with_the_same_id(deliver, status):
    """Anything but 2xx, redirects included, is tried again; id and body stay the same."""
    receiver = Receiver(status, status)
    outbox, counts = await deliver(receiver)

    outbox.put(message())
    await receiver.wait_for(3)
    await outbox.drain()

    assert len({(h["webhook-id"], b) for h, b in receiver.posts}) == 1
    assert counts == ["retried", "retried", "delivered"]


async def test_a_receiver_that_is_gone_gets_nothing_more(deliver):
    """After 410 nothing is sent; each alert is counted as given up, and health says why."""
    receiver = Receiver(410)
    outbox, counts = await deliver(receiver)

    outbox.put(message(0))
    await receiver.wait_for(1)
    await outbox.drain()
    outbox.put(message(1))

    assert counts == ["given_up", "given_up"]
    assert outbox.pending == 0
    assert "410" in outbox.problem


async def test_an_alert_is_given_up_after_max_attempts(deliver):
    """The last attempt is counted as given up; later alerts are still tried."""
    receiver = Receiver(500, 500)
    outbox, counts = await deliver(receiver, max_attempts=2)

    outbox.put(message(0))
    await receiver.wait_for(2)
    await outbox.drain()
    outbox.put(message(1))
    await receiver.wait_for(3)
    await outbox.drain()

    assert counts == ["retried", "given_up", "delivered"]


async def test_a_waiting_retry_does_not_hold_up_others(deliver):
    """While one alert waits for its retry, the next is delivered."""
    receiver = Receiver(web.Response(status=503, headers={"Retry-After": "600"}))
    outbox, counts = await deliver(receiver)

    outbox.put(message(0))
    await receiver.wait_for(1)
    outbox.put(message(1))
    await receiver.wait_for(2)
    await outbox.drain()

    assert counts == ["retried", "delivered"]
    assert outbox.pending == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/hook", f"http://{'a' * 70}/hook", "http://a..b/"])
async def test_an_unreachable_receiver_is_tried_again(url):
    """A refused connection or an impossible host is a failed attempt, not an error of the daemon."""
    counts = []
    hook = Webhook.model_construct(url=url, secret=[SecretStr(SECRET)], max_attempts=1, timeout_s=5.0)
    async with guarded([ip_network("127.0.0.0/8")]) as session:
        outbox = Outbox(hook, lambda it: post(session, hook, it), counts.append)
        outbox.put(message())
        task = asyncio.create_task(outbox.run())
        await outbox.drain()
        task.cancel()

    assert counts == ["given_up"]


def test_a_full_outbox_gives_up_the_oldest(monkeypatch):
    """Memory is bounded; the newest alerts are kept and the loss is counted."""
    monkeypatch.setattr(outbox_module, "MAX_PENDING", 3)
    counts = []
    outbox = Outbox(Webhook(url="http://x", secret=SECRET), None, counts.append)

    for number in range(5):
        outbox.put(message(number))

    assert counts == ["given_up", "given_up"]
    kept = sorted(entry[2].message.message_id for entry in outbox._due)
    assert kept == ["alert_2.raised", "alert_3.raised", "alert_4.raised"]


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome", "pause"),
    [
        (204, None, Outcome.DELIVERED, None),
        (410, None, Outcome.GONE, None),
        (503, "7", Outcome.RETRY, 7.0),
        (503, "999999", Outcome.RETRY, 3600.0),
        (503, "-5", Outcome.RETRY, None),
        (503, "Mon, 01 Jan 2001 00:00:00 GMT", Outcome.RETRY, 0.0),
        (503, "soon", Outcome.RETRY, None),
        (503, "9" * 400, Outcome.RETRY, 3600.0),
        (503, "٣", Outcome.RETRY, None),
    ],
)
def test_answers_are_judged(status, retry_after, outcome, pause):
    """2xx delivers, 410 ends, all else retries; Retry-After is read and bounded."""
    attempt = judge(status, retry_after)

    assert (outcome, pause) == (attempt.outcome, attempt.retry_after_s)


def resolved(number=0):
    """The message that this alert is over."""
    event = AlertResolved(
        call_id="c", leg="caller", alert_id=f"alert_{number}", rule="r", reason="cleared", at_s=9.0
    )
    return Message.of(event)


@pytest.mark.parametrize("last", [Outcome.DELIVERED, Outcome.REFUSED])
async def test_an_alert_is_over_only_after_it_was_raised(last):
    """What resolves an alert waits until the alert was delivered or given up; other alerts do not wait."""
    outcomes = {"alert_0.raised": [Outcome.RETRY, last]}
    sent, counts = [], []

    async def send(it):
        sent.append(it.message_id)
        left = outcomes.get(it.message_id)
        return Attempt(left.pop(0) if left else Outcome.DELIVERED, "")

    outbox = Outbox(Webhook(url="http://x", secret=SECRET, first_retry_s=0.01), send, counts.append)
    for it in (message(0), resolved(0), message(1), resolved(1)):
        outbox.put(it)
    task = asyncio.create_task(outbox.run())
    async with asyncio.timeout(20):
        while outbox.pending:  # noqa: ASYNC110 - it yields, it does not wait
            await asyncio.sleep(0)
    task.cancel()

    assert [it for it in sent if it.startswith("alert_0")] == ["alert_0.raised"] * 2 + ["alert_0.resolved"]
    assert sent.index("alert_1.resolved") > sent.index("alert_1.raised")
    assert counts.count("given_up") == (last is Outcome.REFUSED)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, True),
        ({"categories": ["health"]}, False),
        ({"min_severity": "critical"}, True),
        ({"categories": ["fraud"], "min_severity": "warning"}, True),
    ],
)
def test_a_hook_gets_what_it_asked_for(settings, wanted):
    """Categories and the lowest severity are chosen; what resolves an alert goes where the alert went."""
    outbox = Outbox(Webhook(url="http://x", secret=SECRET, **settings), None, lambda outcome: None)

    outbox.put(message())
    outbox.put(resolved(1))

    assert outbox.pending == 2 * wanted


def test_a_minor_alert_is_not_for_everybody():
    """Below min_severity nothing is queued."""
    event = AlertResolved(alert_id="a", rule="r", reason="cleared", at_s=0, severity="info")
    outbox = Outbox(
        Webhook(url="http://x", secret=SECRET, min_severity="warning"), None, lambda outcome: None
    )

    outbox.put(Message.of(event))

    assert outbox.pending == 0


@given(
    attempts=st.integers(1, 100),
    first_s=st.floats(0.01, 3600),
    asked_s=st.none() | st.floats(0, 3600),
)
def test_the_schedule_doubles_with_jitter_and_listens(attempts, first_s, asked_s):
    """The pause is within a fifth of the doubled one, never beyond its limit, never before Retry-After."""
    outbox = Outbox(Webhook(url="http://x", secret=SECRET, first_retry_s=first_s), None, lambda outcome: None)
    planned = min(first_s * 2.0 ** (attempts - 1), MAX_PAUSE_S)

    pause = outbox._pause_s(attempts, asked_s)

    assert pause >= (asked_s or 0)
    assert pause == asked_s or 0.8 * planned <= pause <= 1.2 * planned
