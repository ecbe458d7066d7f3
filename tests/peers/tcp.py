"""Whoever sends raw PCM over TCP, as ``ffmpeg … -f s16le tcp://…`` and ``nc`` do."""

import asyncio
from contextlib import suppress

PACKET_S = 0.02
CLOSE_S = 60.0


async def place_call(address: str, pcm: bytes, call_id: str = "", *, pace: float = 1.0, rate: int = 16_000):
    """Send ``pcm`` (s16le, mono, ``rate`` Hertz) and close.

    Args:
        address: ``host:port`` of the listener.
        pcm: the caller's voice.
        call_id: cannot be said on this path.
        pace: times real time; 0 for at once.
        rate: Hertz.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    loop = asyncio.get_running_loop()
    started, size = loop.time(), round(rate * PACKET_S) * 2
    try:
        for first in range(0, len(pcm), size):
            writer.write(pcm[first : first + size])
            await writer.drain()
            if pace:
                await asyncio.sleep(started + first / (2 * rate) / pace - loop.time())
        writer.write_eof()
        async with asyncio.timeout(CLOSE_S):
            await reader.read()  # nothing but the end: all has been scored
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
