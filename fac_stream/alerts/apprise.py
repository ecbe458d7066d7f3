"""Chat, mail and pagers through the library Apprise, which knows a URL for each of them.

It blocks, so it runs on a thread of its own for each hook, one message at a time. A send that outlasts its
limit is left behind, and until it ends no other is begun. What Apprise logs stays out of our log: addresses
with their tokens may stand in it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from importlib.util import find_spec

from fac_stream.alerts.message import Attempt, Message, Outcome
from fac_stream.alerts.template import rendered
from fac_stream.config_hooks import Apprise
from fac_stream.daemon_thread import DaemonThread
from fac_stream.errors import ConfigError

TALKATIVE = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")
"""Loggers that repeat addresses."""


class AppriseThread:
    """The thread of one hook.

    Raises:
        ConfigError: Apprise is not installed, or does not know such a URL.
    """

    def __init__(self, hook: Apprise) -> None:
        self._hook = hook
        self._notify = notifier(hook)
        self._thread = DaemonThread("apprise")
        self._turn = asyncio.Lock()
        self._left_behind: Future[bool] | None = None

    async def send(self, message: Message) -> Attempt:
        """Try once. Never raises for what the receiver or the network does; cancelling it is safe."""
        async with self._turn:
            if self._left_behind and not self._left_behind.done():
                return Attempt(Outcome.RETRY, "an earlier attempt has not ended yet")
            sending = self._left_behind = self._thread.submit(self._notify, message)
            try:
                async with asyncio.timeout(self._hook.timeout_s):
                    delivered = await asyncio.wrap_future(sending)
            except TimeoutError:
                return Attempt(Outcome.RETRY, f"no answer within {self._hook.timeout_s:g} s")
            except Exception as error:  # noqa: BLE001 - a library with a hundred services behind it
                return Attempt(Outcome.RETRY, f"Apprise failed: {type(error).__name__}")
        if delivered:
            return Attempt(Outcome.DELIVERED, "delivered")
        return Attempt(Outcome.RETRY, "Apprise could not deliver it; fac alerts test says more")

    def close(self) -> None:
        """Let the thread end; does not wait for it."""
        self._thread.shutdown()


def notifier(hook: Apprise) -> Callable[[Message], bool]:
    """What sends a message and says whether it was delivered; it blocks.

    Raises:
        ConfigError: Apprise is not installed, or does not know such a URL.
    """
    if find_spec("apprise") is None:
        raise ConfigError("alerts.apprise: Apprise is not installed: pip install 'fac-stream[hooks]'")
    for name in TALKATIVE:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    import apprise  # noqa: PLC0415 - it loads a hundred services, for those who use one

    asset = apprise.AppriseAsset(
        app_id="FAC Stream",
        app_desc="FAC Stream",
        async_mode=False,
        http_redirects=False,
        storage_mode="memory",
    )
    service = apprise.Apprise.instantiate(hook.url.get_secret_value(), asset=asset)
    if service is None:
        raise ConfigError(f"alerts.apprise: {hook.name}: Apprise does not know such a url; see docs/hooks.md")
    looks = {"info": "info", "warning": "warning", "critical": "failure"}
    chosen = apprise.Apprise(asset=asset)
    chosen.add(service)

    def notify(message: Message) -> bool:
        over = message.type == "alert.resolved"
        severity = message.event["data"]["severity"]
        return bool(
            chosen.notify(
                title=f"FAC Stream: {severity} alert{' is over' if over else ''}",
                body=rendered(hook.message, message),
                notify_type=apprise.NotifyType("success" if over else looks[severity]),
                body_format=apprise.NotifyFormat.TEXT,
            )
        )

    return notify
