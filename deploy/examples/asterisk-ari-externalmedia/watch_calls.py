#!/usr/bin/env python3
"""Lets FAC Stream hear both sides of every Asterisk call that passes through Stasis(fac-stream).

For each call: a port a leg from the daemon; a snoop channel a leg, which hears one side; an external media
channel that sends what it hears as RTP to that port; a bridge between the two. The call itself goes on in the
dialplan at once. Needs Asterisk 16.6 or newer, and aiohttp, which FAC Stream's environment has:

    .venv/bin/python watch_calls.py

Settings come from the environment; the defaults fit a daemon and an Asterisk on the same machine.
"""

import asyncio
import base64
import logging
import os
from collections.abc import Coroutine
from typing import Any

import aiohttp

APP = "fac-stream"
ARI = os.environ.get("ARI_URL", "http://127.0.0.1:8088/ari")
USER, PASSWORD = os.environ.get("ARI_USER", "fac-stream"), os.environ.get("ARI_PASSWORD", "")
DAEMON = os.environ.get("FAC_URL", "http://127.0.0.1:8765")
TOKEN = os.environ.get("FAC_TOKEN", "")
FORMAT = os.environ.get("ARI_FORMAT", "ulaw")
CODECS = {
    "ulaw": {"0": "PCMU/8000"},
    "alaw": {"8": "PCMA/8000"},
    "g722": {"9": "G722/8000"},
    "slin16": {"118": "L16/16000"},
}
"""Asterisk's name of a format: the payload type that it sends it with, and what that is."""
LEGS = {"caller": "in", "agent": "out"}
"""Leg of the call: the direction of the channel that carries its voice."""
TIMEOUT = aiohttp.ClientTimeout(total=10)
RETRY_S = 5

log = logging.getLogger("watch_calls")


class Watcher:
    """All calls that are heard at present."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        """``http``: the session for both servers."""
        self.http = http
        self.calls: dict[str, dict[str, list[str]]] = {}
        """Channel id: the ids of what was made for it, by kind."""

    async def ari(self, method: str, path: str, **query: str) -> None:
        """Ask Asterisk; errors are raised."""
        headers = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        async with self.http.request(method, f"{ARI}/{path}", params=query, headers=headers) as answer:
            answer.raise_for_status()

    async def daemon(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask FAC Stream; returns its JSON."""
        headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
        async with self.http.request(method, f"{DAEMON}/api/{path}", headers=headers, **options) as answer:
            if not answer.ok:
                raise aiohttp.ClientError(f"{answer.status}: {await answer.text()}")
            return await answer.json()

    async def on_event(self, event: dict[str, Any]) -> None:
        """React to calls that come and snoop channels that go."""
        channel = event.get("channel", {}).get("id", "")
        if event["type"] == "StasisStart" and not event["channel"]["name"].startswith(
            ("Snoop/", "UnicastRTP/")
        ):
            try:
                await self.listen(event["channel"])
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("call %s is not heard: %s", channel, error)
                await self.stop(channel)
            finally:
                await self.quietly(self.ari("POST", f"channels/{channel}/continue"))
        elif event["type"] == "StasisEnd" and channel.endswith("-snoop-caller"):
            await self.stop(channel.removesuffix("-snoop-caller"))

    async def listen(self, channel: dict[str, Any]) -> None:
        """Make what it takes to hear both sides of a channel."""
        call = channel["id"]
        numbers = {"from": channel["caller"]["number"], "to": channel["dialplan"]["exten"]}
        wanted = {"call_id": call, "legs": list(LEGS), "codecs": CODECS[FORMAT], "metadata": numbers}
        ports = (await self.daemon("POST", "rtp", json=wanted))["legs"]
        self.calls[call] = {"channels": [], "bridges": []}
        for leg, direction in LEGS.items():
            snoop, media, bridge = (f"{call}-{what}-{leg}" for what in ("snoop", "media", "bridge"))
            address = f"{ports[leg]['host']}:{ports[leg]['port']}"
            await self.ari("POST", f"channels/{call}/snoop/{snoop}", app=APP, spy=direction)
            self.calls[call]["channels"].append(snoop)
            await self.ari(
                "POST",
                "channels/externalMedia",
                app=APP,
                channelId=media,
                external_host=address,
                format=FORMAT,
            )
            self.calls[call]["channels"].append(media)
            await self.ari("POST", "bridges", type="mixing", bridgeId=bridge)
            self.calls[call]["bridges"].append(bridge)
            await self.ari("POST", f"bridges/{bridge}/addChannel", channel=f"{snoop},{media}")
        log.info("call %s is heard", call)

    async def stop(self, call: str) -> None:
        """The call is over: take away what was made, and say so to the daemon."""
        made = self.calls.pop(call, None)
        if made is None:
            return
        await self.quietly(self.daemon("DELETE", f"rtp/{call}"))
        for channel in made["channels"]:
            await self.quietly(self.ari("DELETE", f"channels/{channel}"))
        for bridge in made["bridges"]:
            await self.quietly(self.ari("DELETE", f"bridges/{bridge}"))
        log.info("call %s is over", call)

    async def quietly(self, request: Coroutine[Any, Any, Any]) -> None:
        """Carry out a request that may find nothing any more."""
        try:
            await request
        except (aiohttp.ClientError, TimeoutError) as error:
            log.debug("%s", error)

    async def run(self) -> None:
        """Follow Asterisk's events until the connection is lost."""
        query = {"app": APP, "api_key": f"{USER}:{PASSWORD}"}
        async with (
            self.http.ws_connect(f"{ARI}/events", params=query, heartbeat=20) as events,
            asyncio.TaskGroup() as group,
        ):
            log.info("waiting for calls of Stasis(%s)", APP)
            async for message in events:
                group.create_task(self.on_event(message.json()))


async def main() -> None:
    """Watch for ever; come back when Asterisk does."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as http:
        while True:
            try:
                await Watcher(http).run()
            except aiohttp.ClientError as error:
                log.warning("no connection to Asterisk: %s", error)
            await asyncio.sleep(RETRY_S)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(main())
