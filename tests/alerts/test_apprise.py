import asyncio
import email
import email.policy
import logging
import socket
import threading
from logging.handlers import QueueHandler
from queue import Queue

import pytest
from aiosmtpd.controller import Controller

from fac_stream.alerts import apprise as apprise_module
from fac_stream.alerts.apprise import AppriseThread
from fac_stream.alerts.hooks import opened
from fac_stream.alerts.message import Outcome
from fac_stream.config_hooks import Apprise
from fac_stream.errors import ConfigError
from tests.alerts.hook_servers import JsonServer
from tests.alerts.test_outbox import message, resolved

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise imports it in passing."""


async def send(url, *messages, **settings):
    """What comes of each message, sent in turn to this URL of Apprise's."""
    async with opened([Apprise(name="chat", url=url, **settings)]) as ((_, sender),):
        return [await sender(it) for it in messages]


async def test_a_chat_gets_the_message_and_how_severe_it_is():
    """Title, the operator's words, and Apprise's kind: failure for critical, success once it is over."""
    with JsonServer() as server:
        attempts = await send(
            f"json://127.0.0.1:{server.port}/x", message(), resolved(), message="Call $call_id: $state"
        )
        raised, over = server.get(), server.get()

    assert [it.outcome for it in attempts] == [Outcome.DELIVERED] * 2
    assert (raised["title"], raised["message"], raised["type"]) == (
        "FAC Stream: critical alert",
        "Call c: raised",
        "failure",
    )
    assert (over["title"], over["message"], over["type"]) == (
        "FAC Stream: critical alert is over",
        "Call c: resolved",
        "success",
    )


class Mailbox:
    """What an SMTP server does with mail here: it keeps it."""

    def __init__(self):
        self.mails = Queue()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's name
        """Called by the server."""
        self.mails.put(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


async def test_a_mail_arrives():
    """Over real SMTP: subject and text are the alert's."""
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=fac@example.org&to=desk@example.org&mode=insecure&format=text"
        (attempt,) = await send(url, message(), message="Voice on call $call_id")
    finally:
        controller.stop()

    assert attempt.outcome is Outcome.DELIVERED
    mail = mailbox.mails.get_nowait()
    assert mail["subject"] == "FAC Stream: critical alert"
    assert "desk@example.org" in mail["to"]
    assert "Voice on call c" in mail.get_body().get_content()


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (404, {}), (302, {"location": "/elsewhere"})])
async def test_a_service_that_refuses_is_tried_again(status, headers):
    """A redirect is not followed either; no part of the address is told."""
    with JsonServer(lambda path, body: (status, headers)) as server:
        (attempt,) = await send(f"json://me:pass-word@127.0.0.1:{server.port}/hidden", message())
        assert server.posts.qsize() == 1

    assert attempt.outcome is Outcome.RETRY
    assert "hidden" not in attempt.detail
    assert "pass-word" not in attempt.detail


async def test_what_apprise_logs_is_not_in_our_log(capfd):
    """Addresses with their tokens may stand in it, at any level; nor is it printed."""
    records = Queue()
    handler, root = QueueHandler(records), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    try:
        await send("json://127.0.0.1:9/hidden-token", message())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

    assert "hidden-token" not in "".join(record.getMessage() for record in records.queue)
    assert "hidden-token" not in "".join(capfd.readouterr())


async def test_a_service_that_hangs_holds_up_nobody_for_long(monkeypatch):
    """The attempt ends in time; until the one that was left behind ends, no other is begun."""
    go_on, begun = threading.Event(), []

    def notify(it):
        begun.append(it)
        return go_on.wait(60)

    monkeypatch.setattr(apprise_module, "notifier", lambda hook: notify)
    thread = AppriseThread(Apprise(name="chat", url="json://h", timeout_s=0.05))
    try:
        first = await thread.send(message(0))
        second = await thread.send(message(1))
        go_on.set()
        async with asyncio.timeout(20):
            while not thread._left_behind.done():  # noqa: ASYNC110 - a thread ends when it likes
                await asyncio.sleep(0)
        thread._hook = thread._hook.model_copy(update={"timeout_s": 60.0})
        third = await thread.send(message(2))
    finally:
        go_on.set()
        thread.close()

    assert (first.outcome, first.detail) == (Outcome.RETRY, "no answer within 0.05 s")
    assert (second.outcome, second.detail) == (Outcome.RETRY, "an earlier attempt has not ended yet")
    assert third.outcome is Outcome.DELIVERED
    assert [it.alert_id for it in begun] == ["alert_0", "alert_2"]


async def test_a_library_that_fails_is_tried_again(monkeypatch):
    """Whatever a service's plug-in raises is a failed attempt, and its words stay unsaid."""

    def notify(it):
        raise RuntimeError("token hidden")

    monkeypatch.setattr(apprise_module, "notifier", lambda hook: notify)
    thread = AppriseThread(Apprise(name="chat", url="json://h"))

    attempt = await thread.send(message())
    thread.close()

    assert (attempt.outcome, attempt.detail) == (Outcome.RETRY, "Apprise failed: RuntimeError")


@pytest.mark.parametrize("url", ["nothing://x", "no url", "slack://hidden"])
def test_a_url_that_apprise_does_not_know_is_told_at_the_start(url):
    """By the hook's name; the URL is a secret."""
    with pytest.raises(ConfigError, match=r"alerts\.apprise: chat: Apprise does not know") as caught:
        AppriseThread(Apprise(name="chat", url=url))

    assert url not in str(caught.value)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    """The extra is optional; who configures it without gets the command."""
    monkeypatch.setattr(apprise_module, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'fac-stream\[hooks\]'"):
        AppriseThread(Apprise(name="chat", url="json://h"))
