"""Telnyx' side, after developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket."""

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets, text64

STREAM = "32de0dea-53cb-4b21-89a4-9e1819c043bc"
USER = "3e6f995f-85f7-4705-9741-53b116d28237"


async def place_call(url, pcm, call_id, *, pace=1.0, stream_auth_token=None):
    """The caller's track as PCMU, 20 ms; every fifth message comes after the one behind it."""
    token = "x-telnyx-streaming-auth-token"
    connected = {"event": "connected", "version": "1.0.0"}
    start = {
        "user_id": USER,
        "call_control_id": call_id,
        "call_session_id": "ff55a038-6f5d-11ef-9692-02420aeffb1f",
        "from": "+13122010094",
        "to": "+13122123456",
        "tags": [],
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    }

    def media(chunk, payload):
        fields = {"track": "inbound", "chunk": str(chunk), "timestamp": str(20 * chunk)}
        return {
            "event": "media",
            "sequence_number": str(chunk + 1),
            "media": fields | {"payload": text64(payload)},
            "stream_id": STREAM,
        }

    sent = [[media(n, payload)] for n, payload in enumerate(packets(pcm, 8000, Encoding.MULAW), 1)]
    for i in range(0, len(sent) - 1, 5):
        sent[i], sent[i + 1] = sent[i + 1], sent[i]
    return await converse(
        url,
        [
            connected | ({"connected": {token: stream_auth_token}} if stream_auth_token else {}),
            {"event": "start", "sequence_number": "1", "start": start, "stream_id": STREAM},
        ],
        sent,
        [
            {
                "event": "stop",
                "sequence_number": "0",
                "stop": {"user_id": USER, "call_control_id": call_id},
                "stream_id": STREAM,
            }
        ],
        packet_ms=20,
        pace=pace,
        headers={token: stream_auth_token} if stream_auth_token else None,
    )
