"""The caller's voice, as a telephone system sends it: in its own format, packet by packet."""

import asyncio
from contextlib import suppress

import numpy as np
import soxr
from websockets.exceptions import ConnectionClosed

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import SAMPLE_RATE, Encoding

PACKET_S = 0.02


def converted(pcm, rate, encoding=Encoding.PCM_S16LE):
    """``pcm`` (s16le, mono, 16 kHz) at another rate and in another encoding."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    return encode(soxr.resample(samples, SAMPLE_RATE, rate), encoding)


def interleaved(left, right):
    """Two channels of s16le as one stream; the shorter one is silent at its end."""
    both = np.zeros((max(len(left), len(right)) // 2, 2), "<i2")
    for channel, data in enumerate((left, right)):
        both[: len(data) // 2, channel] = np.frombuffer(data, "<i2")
    return both.tobytes()


async def everything_said(socket):
    """All messages until a WebSocket is closed, in whatever way."""
    messages = []
    with suppress(ConnectionClosed):
        async for message in socket:
            messages.append(message)  # noqa: PERF401 - those before an abnormal close count, too
    return messages


async def packets(data, bytes_per_s, pace, packet_s=PACKET_S):
    """Yield packets ``pace`` times as fast as they are spoken; 0 for at once."""
    loop = asyncio.get_running_loop()
    started, size = loop.time(), round(bytes_per_s * packet_s)
    for first in range(0, len(data), size):
        yield data[first : first + size]
        if pace:
            await asyncio.sleep(started + (first + size) / bytes_per_s / pace - loop.time())
