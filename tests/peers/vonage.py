"""Vonage's side of a WebSocket, after developer.vonage.com/en/voice/voice-api/concepts/websockets."""

import base64
import hashlib
import hmac
import json
import secrets
import time

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets


async def place_call(url, pcm, call_id, *, pace=1.0, headers=None, signature_secret=None):
    """The mix of the call as L16 at 16 kHz in binary messages of 20 ms, then a close.

    Args:
        url: of the daemon's ``/ws/vonage``.
        pcm: ``pcm_s16le`` at 16 kHz.
        call_id: sent in ``headers``, as docs/connect/vonage.md has it.
        pace: times real time; 0 for at once.
        headers: of the NCCO's endpoint.
        signature_secret: signs the handshake.
    """
    connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "call_id": call_id}
    return await converse(
        url,
        [connected | (headers or {})],
        ([payload] for payload in packets(pcm, 16_000, Encoding.PCM_S16LE)),
        [],
        packet_ms=20,
        pace=pace,
        headers={"Authorization": f"Bearer {jwt(signature_secret)}"} if signature_secret else None,
    )


def jwt(secret, algorithm="HS256", **claims):
    """A token with Vonage's claims, signed with this secret."""
    said = {
        "iat": int(time.time()),
        "jti": secrets.token_hex(8),
        "iss": "Vonage",
        "api_key": "abcd1234",
    } | claims
    head = f"{_part({'alg': algorithm, 'typ': 'JWT'})}.{_part(said)}"
    return f"{head}.{_base64(hmac.digest(secret.encode(), head.encode(), hashlib.sha256))}"


def _part(fields):
    return _base64(json.dumps(fields).encode())


def _base64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
