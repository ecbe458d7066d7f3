"""Every path into the daemon under a name of its own: who takes it, and what becomes of the call."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fac_stream.audio.frames import Encoding
from tests.peers import (
    asterisk,
    audiohook,
    audiosocket,
    exotel,
    freeswitch,
    ingest,
    jambonz,
    plivo,
    rtp,
    signalwire,
    siprec,
    tcp,
    telnyx,
    twilio,
    vonage,
    whip,
)

LISTENERS = {
    "audiosocket": {"port": 0},
    "rtp": {},
    "siprec": {"port": 0, "agents": ["*@agents.example.com"]},
    "tcp": {"port": 0},
}
"""The configuration with which a daemon opens all of them."""
FAST = 6.0
"""Times real time; senders that wait until they are heard lose nothing by it."""
START_S = 30


@dataclass(frozen=True)
class Address:
    """Where a daemon is reached."""

    url: str
    listeners: Mapping[str, str]

    @property
    def host(self):
        """``host:port`` of its own port."""
        return urlsplit(self.url).netloc

    def ws(self, path):
        """The address of a WebSocket."""
        return self.url.replace("http", "ws", 1) + path


@dataclass(frozen=True)
class Path:
    """One way in."""

    place: Callable
    """``place(address, pcm, call_id, pace)``: send 16 kHz s16le as one call and end it."""
    source: str
    """Kind of source in the events."""
    codec: str
    """What reaches the daemon: ``pcm16``, ``pcm8`` (kHz), ``mulaw``, ``alaw``, ``g722``, ``opus``."""
    legs: tuple[str, ...] = ("caller",)
    """The voice is on the first."""
    pace: float = FAST
    """The fastest without loss."""
    listener: str | None = None
    """The TCP listener that it ends at; None for the daemon's own port."""
    resumes: bool = False
    """Whether a call whose connection broke goes on when its id comes again."""
    refusal: str = "1013"
    """How it is told that the daemon is full: part of what the emulator returns or raises, if anything."""
    says: Mapping[str, str] = field(default_factory=dict)
    """Part of the call's metadata."""


def _socket(peer, way, **system):
    async def place(address, pcm, call_id, pace):
        return await peer.place_call(address.ws(way), pcm, call_id, pace=pace, **system)

    return place


def _port(peer, listener, **system):
    async def place(address, pcm, call_id, pace):
        return await peer.place_call(address.listeners[listener], pcm, call_id, pace=pace, **system)

    return place


def _http(peer, **system):
    async def place(address, pcm, call_id, pace):
        return await peer.place_call(address.url, pcm, call_id, pace=pace, **system)

    return place


def _ingest(codec, **system):
    place = _socket(ingest, "ws/ingest", **system)
    return Path(place, "websocket", codec, ("mixed",), resumes=True, refusal="'full'")


def _family(peer, codec):
    place = _socket(peer, "ws/twilio")
    return Path(place, "twilio", codec, resumes=True, says={"platform": peer.__name__.rpartition(".")[2]})


def _rtp(codec, sdp_name):
    return Path(_http(rtp, codec=sdp_name), "rtp", codec, ("mixed",), pace=1.0, refusal="503")


def _siprec(codec, **system):
    legs = ("caller", "agent")
    place = _port(siprec, "siprec", **system)
    return Path(place, "siprec", codec, legs, pace=1.0, refusal="Busy Here")


REFERENCES = {
    "pcm16": _ingest("pcm16"),
    "pcm8": _ingest("pcm8", rate=8_000),
    "mulaw": _ingest("mulaw", rate=8_000, encoding=Encoding.MULAW),
    "alaw": _ingest("alaw", rate=8_000, encoding=Encoding.ALAW),
}
"""What reaches the daemon → the same over ``/ws/ingest``, which adds nothing and loses nothing."""

PATHS = {
    "twilio": _family(twilio, "mulaw"),
    "telnyx": _family(telnyx, "mulaw"),
    "plivo": _family(plivo, "pcm8"),
    "exotel": _family(exotel, "pcm8"),
    "signalwire": _family(signalwire, "pcm16"),
    "vonage": Path(
        _socket(vonage, "ws/vonage"),
        "vonage",
        "pcm16",
        ("mixed",),
        resumes=True,
        says={"platform": "vonage"},
    ),
    "jambonz": Path(
        _socket(jambonz, "ws/jambonz"), "jambonz", "pcm8", resumes=True, says={"platform": "jambonz"}
    ),
    "asterisk": Path(
        _socket(asterisk, "ws/asterisk"),
        "asterisk",
        "pcm16",
        ("mixed",),
        resumes=True,
        refusal="HANGUP",
        says={"connection_id": asterisk.CONNECTION_ID},
    ),
    "asterisk-alaw": Path(
        _socket(asterisk, "ws/asterisk", fmt="alaw", control="plain"),
        "asterisk",
        "alaw",
        ("mixed",),
        refusal="HANGUP",
    ),
    "audiosocket": Path(
        _port(audiosocket, "audiosocket"),
        "audiosocket",
        "pcm8",
        ("mixed",),
        pace=1.0,
        listener="audiosocket",
        resumes=True,
        refusal="",
    ),
    "audiosocket-slin16": Path(
        _port(audiosocket, "audiosocket", kind=0x12, says_goodbye=False),
        "audiosocket",
        "pcm16",
        ("mixed",),
        pace=1.0,
        refusal="",
    ),
    "freeswitch": Path(
        _socket(freeswitch, "ws/freeswitch"), "freeswitch", "pcm8", resumes=True, refusal="full"
    ),
    "freeswitch-stream": Path(
        _socket(freeswitch, "ws/freeswitch", module="stream", rate=16_000, graceful=True),
        "freeswitch",
        "pcm16",
        refusal="full",
    ),
    "audiohook": Path(
        _socket(audiohook, "ws/audiohook"),
        "audiohook",
        "mulaw",
        ("caller", "agent"),
        resumes=True,
        says={"ani": "tel:+13175550100"},
    ),
    "tcp": Path(_port(tcp, "tcp"), "tcp", "pcm16", ("mixed",), listener="tcp", refusal=""),
    "rtp-pcmu": _rtp("mulaw", "PCMU/8000"),
    "rtp-pcma": _rtp("alaw", "PCMA/8000"),
    "rtp-l16": _rtp("pcm16", "L16/16000"),
    "rtp-g722": _rtp("g722", "G722/8000"),
    "rtp-opus": _rtp("opus", "opus/48000/2"),
    "siprec": _siprec("mulaw"),
    "siprec-tcp": _siprec("alaw", transport="tcp", payload=siprec.PCMA),
    "whip": Path(_http(whip), "whip", "opus", ("mixed",), pace=1.0, refusal="full"),
}


def address_of(url):
    """A daemon's address with all its listeners, as soon as all of ``LISTENERS`` listen."""
    wanted = {name for name, settings in LISTENERS.items() if "port" in settings}
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with urllib.request.urlopen(url + "api/health", timeout=START_S) as answer:
            listeners = json.load(answer)["listeners"]
        if wanted <= set(listeners):
            return Address(url, listeners)
        time.sleep(0.05)
    raise TimeoutError(f"only {', '.join(listeners)} of {', '.join(wanted)} listen")
