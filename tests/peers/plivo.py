"""Plivo's side, after plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference."""

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets, text64

STREAM = "87654321-4321-4321-4321-cba987654321"


async def place_call(url, pcm, call_id, *, pace=1.0, extra_headers=""):
    """The caller's track as ``audio/x-l16;rate=8000``, Plivo's default; Unix time, no ``stop``, a close."""
    start = {
        "callId": call_id,
        "streamId": STREAM,
        "accountId": "MAXXXXXXXXXXXXXXXXXX",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 8000},
    }

    def media(chunk, payload):
        fields = {"track": "inbound", "timestamp": str(1_705_312_200_000 + 20 * chunk), "chunk": chunk}
        return {
            "event": "media",
            "sequenceNumber": chunk + 1,
            "streamId": STREAM,
            "media": fields | {"payload": text64(payload)},
            "extra_headers": extra_headers,
        }

    return await converse(
        url,
        [{"event": "start", "sequenceNumber": 1, "start": start, "extra_headers": extra_headers}],
        ([media(chunk, payload)] for chunk, payload in enumerate(packets(pcm, 8000, Encoding.PCM_S16LE), 1)),
        [],
        packet_ms=20,
        pace=pace,
    )
