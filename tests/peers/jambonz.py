"""jambonz' side of the ``listen`` verb, after docs.jambonz.org/verbs/verbs/listen."""

import itertools

import numpy as np

from fac_stream.audio.frames import Encoding
from tests.peers.media_streams import converse, packets


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
    sent = packets(pcm, 8000, Encoding.PCM_S16LE)
    if agent:
        pairs = itertools.zip_longest(sent, packets(agent, 8000, Encoding.PCM_S16LE), fillvalue=b"")
        sent = [_interleaved(left, right) for left, right in pairs]
    return await converse(
        url,
        [attributes | (metadata or {})],
        ([payload] for payload in sent),
        [],
        packet_ms=20,
        pace=pace,
        subprotocols=["audio.jambonz.org"],
    )


def _interleaved(left, right):
    size = max(len(left), len(right))
    channels = [np.frombuffer(audio.ljust(size, b"\0"), "<i2") for audio in (left, right)]
    return np.stack(channels, axis=1).tobytes()
