"""jambonz ``listen``: one JSON text with the attributes of the call, then binary 16-bit PCM, little-endian.

``sampleRate`` and ``mixType`` say how to read it: ``mono`` is the caller, ``stereo`` the caller and the
other party of a bridge, ``mixed`` both in one. The verb's own ``metadata`` stands beside the attributes; a
``token`` in it proves the call.

Source: docs.jambonz.org/verbs/verbs/listen; subprotocol ``audio.jambonz.org``.
"""

import time
from collections.abc import Callable
from typing import Any

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.metadata import fitting, named_call
from fac_stream.protocols.objects import take_token, whole
from fac_stream.protocols.preamble import PreambleStream

RATES = (8_000, 16_000, 24_000, 48_000, 64_000)
_LEGS = {"mono": ("caller",), "stereo": ("caller", "agent"), "mixed": ("mixed",)}
_FORMAT = {"callSid", "sampleRate", "mixType"}


def jambonz_stream(now: Callable[[], float] = time.monotonic) -> PreambleStream:
    """A parser for one connection."""
    return PreambleStream(begin, now)


def begin(fields: dict[str, Any]) -> Start:
    """The first text as a call.

    Raises:
        ProtocolError: it names no call, or no format that jambonz has.
    """
    if "callSid" not in fields:
        raise ProtocolError("the first message must describe the call, as jambonz does with callSid")
    call_id = named_call(fields["callSid"])
    rate = whole(fields.get("sampleRate", 8_000), "sampleRate")
    if rate not in RATES:
        raise ProtocolError(f"sampleRate must be one of {', '.join(map(str, RATES))}")
    legs = _LEGS.get(str(fields.get("mixType", "mono")))
    if legs is None:
        raise ProtocolError("mixType must be mono, stereo or mixed")
    metadata = {name: value for name, value in fields.items() if name not in _FORMAT}
    token = take_token(metadata)
    audio = AudioFormat(rate, Encoding.PCM_S16LE, legs)
    return Start(audio, call_id, fitting({"platform": "jambonz"} | metadata), token)
