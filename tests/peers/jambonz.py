"""jambonz' side of the ``listen`` verb, after docs.jambonz.org/verbs/verbs/listen."""

from tests.peers.media_streams import converse
from tests.peers.voice import converted, interleaved


async def place_call(url, pcm, call_id, *, pace=1.0, agent=None, metadata=None):
    """16-bit PCM at 8 kHz in binary messages of 20 ms, then a close; stereo where there is an agent."""
    attributes = {
        "sampleRate": 8000,
        "mixType": "stereo" if agent else "mono",
        "callSid": call_id,
        "direction": "inbound",
        "from": "+15083084809",
        "to": "+15083728299",
        "callId": "7d3d9d2c@10.0.0.1",
        "callStatus": "in-progress",
        "accountSid": "fef61e75-cec3-496c-a7bc-8368e4d02a04",
    }
    audio, size = converted(pcm, 8000), 320
    if agent:
        audio, size = interleaved(audio, converted(agent, 8000)), 640
    return await converse(
        url,
        [attributes | (metadata or {})],
        ([audio[i : i + size]] for i in range(0, len(audio), size)),
        [],
        packet_ms=20,
        pace=pace,
        subprotocols=["audio.jambonz.org"],
    )
