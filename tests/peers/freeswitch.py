"""FreeSWITCH's side of mod_audio_fork and mod_audio_stream.

From https://github.com/drachtio/drachtio-freeswitch-modules/tree/main/modules/mod_audio_fork and
https://github.com/amigniter/mod_audio_stream.
"""

import asyncio
import json
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.peers.voice import converted, everything_said, interleaved, packets

DEADLINE_S = 60


async def place_call(
    url,
    pcm,
    call_id,
    *,
    pace=1.0,
    module="fork",
    channels="mono",
    rate=8_000,
    agent=b"",
    metadata=None,
    graceful=False,
    headers=None,
    password=None,
):
    """Send ``pcm`` (s16le, mono, 16 kHz) as one call, as ``uuid_audio_fork`` or ``uuid_audio_stream`` does.

    Args:
        url: of ``/ws/freeswitch``.
        pcm: the caller's voice.
        call_id: goes into the URL.
        pace: times real time; 0 for at once.
        module: ``fork`` or ``stream``.
        channels: ``mono``, ``mixed`` or ``stereo``.
        rate: Hertz.
        agent: the other voice, as ``pcm``.
        metadata: the first text, if any.
        graceful: ``uuid_audio_fork … graceful-shutdown``: an empty message, then wait for the other side.
        headers: ``STREAM_EXTRA_HEADERS``.
        password: ``MOD_AUDIO_BASIC_AUTH_PASSWORD``.

    Returns:
        What came back, decoded: the bodies of the module's events.
    """
    url = f"{url}?{urlencode({'rate': rate, 'channels': channels, 'call_id': call_id})}"
    if password:
        url = url.replace("://", f"://fac:{password}@", 1)
    data = converted(pcm, rate)
    if channels == "stereo":
        data = interleaved(data, converted(agent, rate))
    offered = ["audio.drachtio.org"] if module == "fork" else None
    compression = None if module == "fork" else "deflate"  # only mod_audio_stream asks for it
    async with connect(
        url, subprotocols=offered, compression=compression, additional_headers=headers
    ) as socket:
        answers = asyncio.create_task(_listen(socket))
        try:
            if metadata is not None:
                await socket.send(metadata)
            width = 4 if channels == "stereo" else 2
            async for part in packets(data, rate * width, pace):
                await socket.send(part)
            if graceful:
                await socket.send(b"")
            else:
                await socket.close(1000)
        except ConnectionClosed:
            pass
        async with asyncio.timeout(DEADLINE_S):
            return await answers


async def _listen(socket):
    return [json.loads(message) for message in await everything_said(socket)]
