"""A WHIP client (RFC 9725) with aiortc, as OBS is one with libdatachannel.

aiortc stands on both sides here: ``tests/browser/test_whip.py`` has Chromium as the independent peer.
"""

import asyncio
import fractions
from urllib.parse import urljoin

import av
import numpy as np
import soxr
from aiohttp import ClientSession
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from fac_stream.server.webrtc import bind

RATE = 48_000
PACKET = 960
"""Samples: 20 ms."""
CONNECT_S = 30.0
TAIL_S = 0.5
"""The receiver's jitter buffer gives its last packets up only when more arrive."""


class Voice(MediaStreamTrack):
    """A microphone that hears ``samples`` (int16 at 48 kHz), then silence."""

    kind = "audio"

    def __init__(self, samples, pace):
        super().__init__()
        self.heard = asyncio.Event()
        self._samples = samples
        self._pace = pace
        self._next = 0
        self._started = None

    async def recv(self):
        """The next 20 ms, when it is due."""
        loop = asyncio.get_running_loop()
        if self._started is None:
            self._started = loop.time()
        await asyncio.sleep(self._started + self._next / RATE / self._pace - loop.time())
        piece = self._samples[self._next : self._next + PACKET]
        if self._next >= len(self._samples) + TAIL_S * RATE:
            self.heard.set()
            raise MediaStreamError
        frame = av.AudioFrame(format="s16", layout="mono", samples=PACKET)
        frame.planes[0].update(np.pad(piece, (0, PACKET - len(piece))).astype("<i2").tobytes())
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._next, fractions.Fraction(1, RATE)
        self._next += PACKET
        return frame


async def offer(connection, host):
    """The connection's offer, with its candidates on ``host``."""
    for transceiver in connection.getTransceivers():
        transceiver.direction = "sendonly"
        bind(transceiver.sender.transport.transport, host)
    await connection.setLocalDescription()
    return connection.localDescription.sdp


async def place_call(url: str, pcm: bytes, call_id: str, *, pace: float = 1.0, token=None, host="127.0.0.1"):
    """Send ``pcm`` (s16le, mono, 16 kHz) as Opus, then end the session.

    Args:
        url: of the daemon, ``http://127.0.0.1:8765/``.
        pcm: the caller's voice.
        call_id: of the call.
        pace: times real time.
        token: the daemon's.
        host: address to send from.
    """
    wide = soxr.resample(np.frombuffer(pcm, "<i2").astype(np.float32), 16_000, RATE)
    voice = Voice(np.clip(np.round(wide), -32768, 32767), pace)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTrack(voice)
        body = await offer(connection, host)
        async with ClientSession(headers=headers) as http:
            async with http.post(
                urljoin(url, f"whip?call_id={call_id}"),
                data=body,
                headers={"Content-Type": "application/sdp"},
            ) as response:
                answer = await response.text()
                assert response.status == 201, answer
                session = urljoin(url, response.headers["Location"])
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            async with asyncio.timeout(CONNECT_S + len(pcm) / 32_000 / pace):
                await voice.heard.wait()
            async with http.delete(session) as response:
                assert response.status == 200
    finally:
        await connection.close()
