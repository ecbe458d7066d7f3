"""What the emulators of WebSocket platforms share: audio in packets, sent at a pace, over ``websockets``."""

import asyncio
import base64
import json

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.peers.voice import converted

END_S = 60
"""Seconds that the daemon may need to score the rest of a call and hang up."""


def packets(pcm, rate, encoding, packet_ms=20):
    """``pcm_s16le`` at 16 kHz as payloads of ``packet_ms``, encoded at ``rate``."""
    data = converted(pcm, rate, encoding)
    size = rate * packet_ms // 1000 * encoding.width
    return [data[i : i + size] for i in range(0, len(data), size)]


def text64(payload):
    """Base64 as JSON carries it."""
    return base64.b64encode(payload).decode()


async def converse(url, first, media, last, *, packet_ms, pace, headers=None, subprotocols=None):
    """Say ``first``, then each group of ``media`` ``packet_ms`` after the one before, then ``last``.

    Dictionaries go as JSON texts, bytes as binary messages. Where nothing is last, the connection is closed.

    Returns:
        The code that the daemon closed with; None where this side closed.
    """
    async with connect(url, additional_headers=headers, subprotocols=subprotocols) as socket:
        try:
            await _send(socket, first)
            loop = asyncio.get_running_loop()
            started = loop.time()
            for i, group in enumerate(media):
                await _send(socket, group)
                if pace:
                    await asyncio.sleep(started + (i + 1) * packet_ms / 1000 / pace - loop.time())
            await _send(socket, last)
            if not last:
                return None
            async with asyncio.timeout(END_S):
                await socket.wait_closed()
        except ConnectionClosed:
            pass
        return socket.close_code


async def _send(socket, messages):
    for message in messages:
        await socket.send(message if isinstance(message, bytes) else json.dumps(message))
