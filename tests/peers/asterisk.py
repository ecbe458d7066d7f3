"""Asterisk's side of chan_websocket, from https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/."""

import asyncio
import json
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from fac_stream.audio.frames import Encoding
from tests.peers.voice import converted, everything_said, packets

FORMATS = {
    "ulaw": (8_000, Encoding.MULAW),
    "alaw": (8_000, Encoding.ALAW),
    "slin": (8_000, Encoding.PCM_S16LE),
    "slin16": (16_000, Encoding.PCM_S16LE),
    "slin48": (48_000, Encoding.PCM_S16LE),
}
CONNECTION_ID = "e226e283-c90a-4ea9-9e37-389000b9ef47"
DEADLINE_S = 60


def media_start(channel_id, fmt="slin16", control="json", variables=None):
    """The event in either control format; channel variables only go into JSON."""
    rate, encoding = FORMATS[fmt]
    fields = {
        "connection_id": CONNECTION_ID,
        "channel": "WebSocket/fac/0x7f3a",
        "channel_id": channel_id,
        "format": fmt,
        "optimal_frame_size": rate * encoding.width // 50,
        "ptime": 20,
    }
    if control == "json":
        return json.dumps({"event": "MEDIA_START", **fields, "channel_variables": variables or {}})
    return " ".join(["MEDIA_START", *(f"{key}:{value}" for key, value in fields.items())])


async def send_call(
    socket, pcm, channel_id, *, pace=1.0, fmt="slin16", control="json", variables=None, early=0
):
    """Send one call on an open socket and hang up; ``early`` packets of it before MEDIA_START.

    Returns:
        What the daemon said.
    """
    rate, encoding = FORMATS[fmt]
    sent, start = 0, media_start(channel_id, fmt, control, variables)
    try:
        async for part in packets(converted(pcm, rate, encoding), rate * encoding.width, pace):
            if sent == early:
                await socket.send(start)
            await socket.send(part)
            sent += 1
            if sent == early + 20:
                await socket.send(
                    json.dumps({"event": "DTMF_END", "channel_id": channel_id, "digit": "5"})
                    if control == "json"
                    else f"DTMF_END digit:5 channel_id:{channel_id}"
                )
        await socket.close(1000)
    except ConnectionClosed:
        pass
    async with asyncio.timeout(DEADLINE_S):
        return await everything_said(socket)


async def place_call(url, pcm, call_id, *, pace=1.0, parameters=None, password=None, **call):
    """Connect as ``Dial(WebSocket/fac/…)`` does and send ``pcm`` (s16le, mono, 16 kHz) as one call.

    Args:
        url: of ``/ws/asterisk``.
        pcm: the caller's voice.
        call_id: the channel's unique id.
        pace: times real time; 0 for at once.
        parameters: of ``v(…)``.
        password: of websocket_client.conf.
        call: see ``send_call``.

    Returns:
        What the daemon said.
    """
    if parameters:
        url = f"{url}?{urlencode(parameters)}"
    if password:
        url = url.replace("://", f"://fac:{password}@", 1)
    async with connect(url, subprotocols=["media"], max_size=65_500) as socket:
        return await send_call(socket, pcm, call_id, pace=pace, **call)


@asynccontextmanager
async def waiting_call(pcm, call_id, **call):
    """A call that waits for its connection as ``Dial(WebSocket/INCOMING/…)`` does; gives the media URL."""
    taken = asyncio.Event()

    def only_once(connection, request):
        if request.path != f"/media/{CONNECTION_ID}":
            return connection.respond(404, "WebSocket instance not found")
        return connection.respond(409, "Another websocket connection exists") if taken.is_set() else None

    async def handle(socket):
        taken.set()
        await send_call(socket, pcm, call_id, **call)

    async with serve(handle, "127.0.0.1", 0, subprotocols=["media"], process_request=only_once) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/media"
