"""The part of the configuration that telephone systems need: what listens, and how a peer proves itself."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

LegName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = Annotated[int, Field(ge=0, le=65535)]
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class System(BaseModel):
    """Part of the tree; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listener(System):
    """A port of its own, for a protocol that knows no passwords: who may connect is said by address."""

    host: str = "127.0.0.1"
    port: Port
    allow: tuple[Network, ...] = LOOPBACK
    """Networks whose machines may connect; everybody else is turned away."""

    def allows(self, address: str) -> bool:
        """Whether a peer with this address may connect."""
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None) or peer
        return any(mapped in network for network in self.allow)


class AudioSocket(Listener):
    """Asterisk's AudioSocket, TCP."""

    port: Port = 9092
    leg: LegName = "mixed"
    calls: tuple[str, ...] = ()
    """UUIDs that are taken; empty for all."""
    lookup_url: str | None = None
    """Asked with ``?uuid=…``: 2xx takes the call, and its JSON object becomes the call's metadata."""


class Rtp(Listener):
    """RTP, UDP: a range of ports that ``POST /api/rtp`` hands out, or one port for all streams."""

    port: Port = 0
    """One port for all streams, told apart by SSRC; 0 for none, only the range."""
    ports: tuple[Port, Port] = (40_000, 40_199)
    """First and last of the range; even ones carry RTP."""
    advertise: str | None = None
    """Address that SDP answers name, where it is not ``host``."""
    jitter_ms: Annotated[int, Field(ge=0, le=1000)] = 60
    max_jitter_ms: Annotated[int, Field(ge=20, le=2000)] = 300


class Siprec(Listener):
    """A SIPREC recording server, SIP over UDP and TCP; needs ``rtp`` for the media."""

    port: Port = 5080


class PcmTcp(Listener):
    """Raw PCM over TCP: every connection is a call."""

    port: Port = 9093
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)] = 16_000
    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"] = "pcm_s16le"
    legs: tuple[LegName, ...] = ("mixed",)


class Listeners(System):
    """Ports beside the daemon's own; each is off until it is named."""

    audiosocket: AudioSocket | None = None
    rtp: Rtp | None = None
    siprec: Siprec | None = None
    tcp: PcmTcp | None = None

    @model_validator(mode="after")
    def _media_has_a_port(self) -> "Listeners":
        if self.siprec and not self.rtp:
            raise ValueError("siprec receives its audio by RTP: set listeners.rtp, too")
        return self


class Twilio(System):
    """``/ws/twilio``: Twilio, SignalWire, Telnyx, Plivo, Exotel."""

    auth_token: SecretStr | None = None
    """The account's; with it every connection must carry a valid ``X-Twilio-Signature``."""
    public_url: str | None = None
    """What the platform was told to connect to, where a proxy makes it differ: the signature covers it."""


class Vonage(System):
    """``/ws/vonage``."""

    signature_secret: SecretStr | None = None
    """The account's; with it every connection must carry a valid signed JWT."""


class Jambonz(System):
    """``/ws/jambonz``."""


class Asterisk(System):
    """``/ws/asterisk``: chan_websocket."""


class FreeSwitch(System):
    """``/ws/freeswitch``: mod_audio_fork and mod_audio_stream."""

    sample_rate: Literal[8_000, 16_000, 24_000, 32_000, 48_000] = 8_000
    """Hertz; those modules do not say it."""
    channels: Literal["mono", "mixed", "stereo"] = "mono"
    answer_decisions: bool = False
    """Write each decision back as JSON that the module hands to the dialplan."""


class AudioHook(System):
    """``/ws/audiohook``: Genesys Cloud."""

    api_key: SecretStr | None = None
    client_secret: SecretStr | None = None
    """Base64; with it every connection must carry a valid signature."""
    scores_every_s: Annotated[float, Field(ge=0.5, le=60)] = 5.0
    """Seconds from one event entity with scores to the next."""


class Whip(System):
    """``POST /whip``: WebRTC from browsers and OBS."""

    host: str = "127.0.0.1"
    """Address that candidates name."""


class Platforms(System):
    """What speaks to the daemon's own port."""

    twilio: Twilio = Twilio()
    vonage: Vonage = Vonage()
    jambonz: Jambonz = Jambonz()
    asterisk: Asterisk = Asterisk()
    freeswitch: FreeSwitch = FreeSwitch()
    audiohook: AudioHook = AudioHook()
    whip: Whip = Whip()


class AsteriskSource(System):
    """An Asterisk whose chan_websocket waits for us to connect."""

    type: Literal["asterisk"]
    url: Annotated[str, Field(pattern=r"^wss?://[^\s]+$", max_length=2048)]
    username: str | None = None
    password: SecretStr | None = None
    leg: LegName = "mixed"
    call_id: str | None = None


class UrlSource(System):
    """Anything that FFmpeg opens: RTSP, HTTP, Icecast, an SDP file, a device."""

    type: Literal["url"]
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    format: str | None = None
    """FFmpeg's name of the demuxer, where the URL does not tell."""
    options: dict[str, str] = {}
    legs: tuple[LegName, ...] | None = None
    call_id: str | None = None


class StdinSource(System):
    """Raw PCM on standard input."""

    type: Literal["stdin"]
    path: Path | None = None
    """Another pipe instead."""
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)] = 16_000
    encoding: Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"] = "pcm_s16le"
    legs: tuple[LegName, ...] = ("mixed",)
    call_id: str | None = None
