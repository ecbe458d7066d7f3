"""A reader of ``/ws/events`` who keeps everything."""

import asyncio
from contextlib import suppress

from websockets.asyncio.client import connect

from fac_stream.events import decode

DEADLINE_S = 90


class Ear:
    """Listens while the block runs; begins with the snapshot.

    Args:
        url: of the daemon's ``/ws/events``.
        token: the daemon's, if it has one.
    """

    def __init__(self, url, token=None):
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.events = []
        """All of them, in order."""
        self._url = url
        self._news = asyncio.Event()

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self._run())
        await self.until(lambda: self.events)
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def until(self, holds):
        """Wait until it holds; fails where that never happens."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def of(self, kind, **fields):
        """Events of a type with these values."""
        return [
            e
            for e in self.events
            if e.type == kind and all(getattr(e, name) == value for name, value in fields.items())
        ]

    async def _run(self):
        async with connect(self._url, max_size=2**24, additional_headers=self._headers) as socket:
            async for message in socket:
                self.events.append(decode(message))
                self._news.set()
