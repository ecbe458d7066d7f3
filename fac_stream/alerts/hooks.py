"""The hooks of a configuration, ready to send."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fac_stream.alerts import command, pagerduty, webhook
from fac_stream.alerts.apprise import AppriseThread
from fac_stream.alerts.guard import guarded
from fac_stream.alerts.message import Send
from fac_stream.config_hooks import Apprise, Command, Hook, PagerDuty, Webhook


@asynccontextmanager
async def opened(hooks: Sequence[Hook]) -> AsyncIterator[list[tuple[Hook, Send]]]:
    """Each hook with what sends its messages; their connections are closed at the end.

    Raises:
        ConfigError: one of them cannot work: the message says why and what to do.
    """
    async with AsyncExitStack() as stack:
        yield [(hook, await _sender(hook, stack)) for hook in hooks]


async def _sender(hook: Hook, stack: AsyncExitStack) -> Send:
    match hook:
        case Webhook():
            # A session each: what one hook may connect to must not be open to another.
            session = await stack.enter_async_context(guarded(hook.allow_private))
            return partial(webhook.post, session, hook)
        case PagerDuty():
            session = await stack.enter_async_context(guarded(hook.allow_private))
            return partial(pagerduty.send, session, hook)
        case Apprise():
            thread = AppriseThread(hook)
            stack.callback(thread.close)
            return thread.send
        case Command():
            return partial(command.run, hook)
    raise TypeError(f"{hook.kind} is no hook")
