"""Asterisk's REST interface, as far as external media needs it, with the RTP that chan_rtp would send.

Written from docs.asterisk.org: "External Media and ARI" and the ARI reference (events, snoop, bridges).
"""

import asyncio

from aiohttp import WSMsgType, web

from tests.peers.rtp import packets, send

CHANNEL = {"caller": {"name": "", "number": "+491701234567"}, "dialplan": {"context": "in", "exten": "100"}}


class Asterisk:
    """A server with one Stasis application; ``call`` brings it a channel.

    Args:
        voices: direction of the channel, ``in`` or ``out`` → 16 kHz s16le mono.
        pace: times real time.
    """

    def __init__(self, voices, pace=1.0):
        self.requests = []
        """What was asked, in order: ``(method, path, query)``."""
        self.continued = asyncio.Event()
        self._voices, self._pace = voices, pace
        self._app = None
        self._snoops, self._media, self._sending = {}, {}, []
        self._connected = asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/ari/events", self._events)
        app.router.add_route("*", "/ari/{path:.*}", self._rest)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}/ari".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def call(self, channel_id):
        """A channel enters the application, both sides talk, and it hangs up."""
        await self._connected.wait()
        await self._tell("StasisStart", channel_id, "PJSIP/trunk-00000001", args=[])
        async with asyncio.timeout(60):
            await self.continued.wait()
        await asyncio.gather(*self._sending)
        for snoop in self._snoops:
            await self._tell("StasisEnd", snoop, f"Snoop/{channel_id}-00000001")

    async def _tell(self, kind, channel_id, name, **fields):
        event = {
            "type": kind,
            "application": "fac-stream",
            "channel": {"id": channel_id, "name": name, **CHANNEL},
        }
        await self._app.send_json(event | fields)

    async def _events(self, request):
        assert request.query["api_key"] == "fac-stream:secret"
        self._app = web.WebSocketResponse()
        await self._app.prepare(request)
        self._connected.set()
        async for message in self._app:
            assert message.type is WSMsgType.TEXT
        return self._app

    async def _rest(self, request):
        path, query = request.match_info["path"], dict(request.query)
        self.requests.append((request.method, path, query))
        parts = path.split("/")
        if request.method == "POST" and parts[0] == "channels" and parts[2:3] == ["snoop"]:
            self._snoops[parts[3]] = query["spy"]
            await self._tell("StasisStart", parts[3], f"Snoop/{parts[1]}-00000001", args=[])
        elif path == "channels/externalMedia":
            self._media[query["channelId"]] = query
            await self._tell(
                "StasisStart", query["channelId"], f"UnicastRTP/{query['external_host']}", args=[]
            )
        elif parts[-1] == "addChannel":
            snoop, media = query["channel"].split(",")
            self._sending.append(asyncio.ensure_future(self._send(self._media[media], self._snoops[snoop])))
        elif parts[-1] == "continue":
            self.continued.set()
            return web.Response(status=204)
        return web.json_response({"id": parts[-1]})

    async def _send(self, media, direction):
        host, port = media["external_host"].split(":")
        assert media["format"] == "ulaw"
        await send((host, int(port)), packets(self._voices[direction], "PCMU/8000"), self._pace)
