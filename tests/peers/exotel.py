"""Exotel's side of the Stream applet, after developer.exotel.com/docs/agentstream/websocket-protocol."""

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets, text64

STREAM = "MZ9f8e7d6c5b4a39281706f5e4d3c2b1a0"


async def place_call(url, pcm, call_id, *, pace=1.0, parameters=None):
    """The caller as raw 16-bit PCM at 8 kHz, 100 ms a message, no track named."""
    start = {
        "stream_sid": STREAM,
        "call_sid": call_id,
        "account_sid": "exotel1",
        "from": "+919876543210",
        "to": "+918047491899",
        "custom_parameters": parameters or {},
        "media_format": {"encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"},
    }

    def message(event, number, **fields):
        return {"event": event, "sequence_number": str(number), "stream_sid": STREAM, **fields}

    def media(chunk, payload):
        fields = {"chunk": str(chunk), "timestamp": str(100 * chunk), "payload": text64(payload)}
        return message("media", chunk + 1, media=fields)

    sent = packets(pcm, 8000, Encoding.PCM_S16LE, 100)
    return await converse(
        url,
        [{"event": "connected"}, message("start", 1, start=start)],
        ([media(chunk, payload)] for chunk, payload in enumerate(sent, 1)),
        [message("stop", len(sent) + 2, stop={"call_sid": call_id, "reason": "callended"})],
        packet_ms=100,
        pace=pace,
    )
