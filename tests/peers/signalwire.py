"""SignalWire's side of ``<Stream>``, after developer.signalwire.com/compatibility-api/cxml/voice/stream."""

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets, text64

ACCOUNT = "b08dacad-2f6c-4de1-93d6-cc732e0c69c5"
STREAM = "7d56cc11-536d-4a45-b4fb-ed3d55be843b"


async def place_call(url, pcm, call_id, *, pace=1.0, auth_bearer_token=None):
    """The caller's track as ``codec="L16@16000h"``, 20 ms, every message wrapped as that page shows them."""
    start = {
        "streamSid": STREAM,
        "accountSid": ACCOUNT,
        "callSid": call_id,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": 16000, "channels": 1},
    }

    def wrapped(event, **fields):
        return {
            "timestamp": "2025-09-26T16:25:04.792Z",
            "direction": "inbound",
            "eventType": event,
            "streamSid": STREAM,
            "rawEvent": {"event": event, **fields},
        }

    def media(chunk, payload):
        fields = {"track": "inbound", "chunk": str(chunk), "timestamp": str(20 * chunk + 1)}
        return wrapped("media", sequenceNumber=str(chunk + 1), media=fields | {"payload": text64(payload)})

    return await converse(
        url,
        [
            wrapped("connected", protocol="Call", version="0.2.0"),
            wrapped("start", sequenceNumber="1", start=start),
        ],
        (
            [media(chunk, payload)]
            for chunk, payload in enumerate(packets(pcm, 16_000, Encoding.PCM_S16LE), 1)
        ),
        [wrapped("stop", sequenceNumber="0")],
        packet_ms=20,
        pace=pace,
        headers={"Authorization": f"Bearer {auth_bearer_token}"} if auth_bearer_token else None,
    )
