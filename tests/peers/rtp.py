"""Whoever sends RTP to a port that it asked for: a PBX's script, then its media.

Written from RFC 3550 and 3551 (header, G.711, G.722, L16), RFC 7587 (Opus) and docs/connect/rtp.md; shares no
line with the daemon's parser.
"""

import asyncio
import random
import socket
import struct

import av
import numpy as np
import soxr
from aiohttp import ClientSession

from fac_stream.audio.frames import Encoding
from tests.peers.voice import converted

DEADLINE_S = 60
PACKET_S = 0.02
STATIC = {"PCMU/8000": 0, "PCMA/8000": 8, "G722/8000": 9}
DYNAMIC = 96


def payload_type(codec):
    """The number that RFC 3551 gives a codec, or one of those that are free."""
    return STATIC.get(codec, DYNAMIC)


def payloads(pcm, codec):
    """``(payload, ticks)`` of each packet, for ``pcm`` (s16le, mono, 16 kHz)."""
    match codec.split("/")[0].upper():
        case "PCMU":
            return _cut(converted(pcm, 8_000, Encoding.MULAW), 160, 160)
        case "PCMA":
            return _cut(converted(pcm, 8_000, Encoding.ALAW), 160, 160)
        case "G722":
            return _cut(b"".join(_encoded(pcm, "g722", 16_000, 320)), 160, 160)
        case "L16":
            rate = int(codec.split("/")[1])
            words = np.frombuffer(converted(pcm, rate), "<i2").astype(">i2").tobytes()
            return _cut(words, rate // 50 * 2, rate // 50)
        case _:
            return [(packet, 960) for packet in _encoded(pcm, "libopus", 48_000, 960)]


def packets(pcm, codec, *, ssrc=None, sequence=None, timestamp=None):
    """Whole datagrams, numbered from random beginnings as RFC 3550, section 5.1, wants it."""
    ssrc = random.getrandbits(32) if ssrc is None else ssrc
    sequence = random.getrandbits(16) if sequence is None else sequence
    timestamp = random.getrandbits(32) if timestamp is None else timestamp
    datagrams = []
    for number, (payload, ticks) in enumerate(payloads(pcm, codec)):
        second = payload_type(codec) | (0x80 if number == 0 else 0)
        header = struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        datagrams.append(header + payload)
        sequence, timestamp = sequence + 1, timestamp + ticks
    return datagrams


async def send(address, datagrams, pace=1.0):
    """Send a packet every 20 ms, divided by ``pace``, to ``(host, port)``; from one port of our own."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(address)
        started = loop.time()
        for number, datagram in enumerate(datagrams):
            udp.send(datagram)
            await asyncio.sleep(started + (number + 1) * PACKET_S / pace - loop.time())


async def place_call(url, pcm, call_id, *, pace=1.0, codec="PCMU/8000", token=None):
    """Ask for a port, send ``pcm`` (s16le, mono, 16 kHz) to it, and release it.

    Args:
        url: of the daemon.
        pcm: the caller's voice.
        call_id: goes into the request.
        pace: times real time.
        codec: as an SDP names it.
        token: the server's.

    Returns:
        What became of the packets, as the daemon said it.

    Raises:
        RuntimeError: the daemon refused; its message begins with the status.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with asyncio.timeout(DEADLINE_S + len(pcm) / 32_000 / pace), ClientSession(headers=headers) as http:
        wanted = {"call_id": call_id, "codecs": {str(payload_type(codec)): codec}}
        async with http.post(f"{url}api/rtp", json=wanted) as answer:
            if answer.status != 201:
                raise RuntimeError(f"{answer.status} {await answer.text()}")
            leg = (await answer.json())["legs"]["mixed"]
        await send((leg["host"], leg["port"]), packets(pcm, codec), pace)
        async with http.delete(f"{url}api/rtp/{call_id}") as answer:
            return await answer.json()


def _cut(data, size, ticks):
    return [(data[i : i + size], ticks) for i in range(0, len(data), size)]


def _encoded(pcm, name, rate, size):
    """Packets of an FFmpeg encoder, ``size`` samples each; the last one is filled up with silence."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    samples = soxr.resample(samples, 16_000, rate)
    samples = np.concatenate((samples, np.zeros(-len(samples) % size, np.float32)))
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    encoder.open()
    words = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    encoded = []
    for start in range(0, len(words), size):
        frame = av.AudioFrame.from_ndarray(words[None, start : start + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        encoded += [bytes(packet) for packet in encoder.encode(frame)]
    return encoded + [bytes(packet) for packet in encoder.encode(None)]
