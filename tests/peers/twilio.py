"""Twilio's side of Media Streams, after twilio.com/docs/voice/media-streams/websocket-messages."""

import base64
import hashlib
import hmac
import itertools

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets, text64

ACCOUNT = "AC" + "0" * 32
STREAM = "MZ" + "1" * 32


async def place_call(url, pcm, call_id, *, pace=1.0, agent=None, parameters=None, auth_token=None):
    """``<Start><Stream>``: the caller's track and, where there is one, the agent's, µ-law at 8 kHz, 20 ms.

    Args:
        url: of the daemon's ``/ws/twilio``.
        pcm: the caller, ``pcm_s16le`` at 16 kHz.
        call_id: the call SID.
        pace: times real time; 0 for at once.
        agent: the outbound track, like ``pcm``.
        parameters: custom ones.
        auth_token: signs the handshake.
    """
    tracks = {"inbound": pcm} | ({"outbound": agent} if agent else {})
    start = {
        "streamSid": STREAM,
        "accountSid": ACCOUNT,
        "callSid": call_id,
        "tracks": list(tracks),
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters or {},
    }
    sequence = itertools.count(2)

    def media(track, chunk, payload):
        fields = {"track": track, "chunk": str(chunk), "timestamp": str(37 + 20 * chunk)}
        return {
            "event": "media",
            "sequenceNumber": str(next(sequence)),
            "media": fields | {"payload": text64(payload)},
            "streamSid": STREAM,
        }

    sent = [packets(audio, 8000, Encoding.MULAW) for audio in tracks.values()]
    return await converse(
        url,
        [
            {"event": "connected", "protocol": "Call", "version": "1.0.0"},
            {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": STREAM},
        ],
        (
            [media(track, chunk, payload) for track, payload in zip(tracks, payloads, strict=True) if payload]
            for chunk, payloads in enumerate(itertools.zip_longest(*sent, fillvalue=b""), 1)
        ),
        [
            {
                "event": "stop",
                "sequenceNumber": "0",
                "stop": {"accountSid": ACCOUNT, "callSid": call_id},
                "streamSid": STREAM,
            }
        ],
        packet_ms=20,
        pace=pace,
        headers={"X-Twilio-Signature": signature(auth_token, url)} if auth_token else None,
    )


def signature(auth_token, url):
    """Of a GET, after twilio.com/docs/usage/security: Base64 of HMAC-SHA1 over the address."""
    return base64.b64encode(hmac.digest(auth_token.encode(), url.encode(), hashlib.sha1)).decode()
