"""Whoever speaks the daemon's own protocol on ``/ws/ingest``, see docs/events.md."""

import asyncio
import json
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fac_stream.audio.frames import Encoding
from tests.peers.voice import converted, packets

DEADLINE_S = 60


async def place_call(url, pcm, call_id, *, pace=1.0, rate=16_000, encoding=Encoding.PCM_S16LE):
    """Send ``pcm`` (s16le, mono, 16 kHz) as one call of one leg and end it.

    Args:
        url: of ``/ws/ingest``.
        pcm: the caller's voice.
        call_id: goes into the hello.
        pace: times real time; 0 for at once.
        rate: Hertz that it is converted to.
        encoding: that it is converted to.

    Returns:
        What the daemon said.
    """
    hello = {"sample_rate": rate, "encoding": encoding.value, "channels": 1, "call_id": call_id}
    said = []
    async with connect(url) as socket, asyncio.timeout(DEADLINE_S + len(pcm) / 32_000 / (pace or 1)):
        with suppress(ConnectionClosed):
            await socket.send(json.dumps(hello))
            said.append(json.loads(await socket.recv()))
            async for part in packets(converted(pcm, rate, encoding), rate * encoding.width, pace):
                await socket.send(part)
            await socket.send('{"type":"end"}')
        with suppress(ConnectionClosed):
            said += [json.loads(message) async for message in socket]
    return said
