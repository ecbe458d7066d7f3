"""The part of the configuration that telephone systems need: what listens, and how a peer proves itself."""

import base64
import ipaddress
import uuid
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from fac_stream.config_section import Section

LegName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Port = Annotated[int, Field(ge=0, le=65535)]
Secret = Annotated[SecretStr, Field(min_length=1)]
"""Set, it closes a door; an empty one, as of a variable that was forgotten, would leave it open."""
RawEncoding = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Listener(Section):
    """A port of its own, for a protocol that knows no passwords: who may connect is said by address."""

    host: str = "127.0.0.1"
    port: Port
    allow: tuple[Network, ...] = LOOPBACK
    """Networks whose machines may connect; everybody else is turned away."""
    max_per_host: Annotated[int, Field(ge=1)] = 100
    """Calls at a time that one address may bring, so that it leaves room among ``ingest.max_calls``."""

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
    rates: dict[Annotated[int, Field(ge=0x10, le=0x1F)], Annotated[int, Field(ge=4000, le=192_000)]] = {}
    """Type of audio packet → Hertz, where an Asterisk means something else than its documentation."""
    calls: tuple[uuid.UUID, ...] = ()
    """UUIDs that are taken; with neither these nor ``lookup_url``, all are."""
    lookup_url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=2048)] | None = None
    """Asked with ``?uuid=…`` for others than ``calls``: 2xx takes the call, its JSON object is metadata."""


class Rtp(Listener):
    """RTP, UDP: a range of ports that ``POST /api/rtp`` hands out, or one port for all streams."""

    port: Port = 0
    """One port for all streams, told apart by SSRC; 0 for none, only the range."""
    ports: tuple[Port, Port] = (40_000, 40_199)
    """First and last of the range; even ones carry RTP."""
    advertise: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")] | None = None
    """Address that SDP answers name, where it is not ``host``."""
    codecs: dict[Annotated[int, Field(ge=0, le=127)], Annotated[str, Field(max_length=64)]] = {}
    """Payload type → ``L16/16000``, for ``port``: what its senders mean beside RFC 3551's own types."""
    jitter_ms: Annotated[int, Field(ge=0, le=1000)] = 60
    """Packets behind a missing one wait so long, and after late ones for up to ``max_jitter_ms``."""
    max_jitter_ms: Annotated[int, Field(ge=20, le=2000)] = 300

    @model_validator(mode="after")
    def _senders_know_where_to(self) -> "Rtp":
        if self.host in ("0.0.0.0", "::") and not self.advertise:  # noqa: S104 - nothing is bound here
            raise ValueError("with a host that stands for every address, advertise says which one to send to")
        if self.ports[0] < 1 or self.ports[1] <= self.ports[0] + self.ports[0] % 2:
            raise ValueError("ports needs a first port above 0 and, two by two, room for at least one pair")
        if self.jitter_ms > self.max_jitter_ms:
            raise ValueError("jitter_ms must not exceed max_jitter_ms")
        return self


class Siprec(Listener):
    """A SIPREC recording server, SIP over UDP and TCP; needs ``rtp`` for the media."""

    port: Port = 5080
    advertise: str | None = None
    """Address that recording clients reach, where it is not ``host``."""
    agents: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()
    """Patterns of agents' addresses, ``*@agents.example.com`` or ``7??``: who fits is the leg ``agent``."""


class PcmTcp(Listener):
    """Raw PCM over TCP: every connection is a call."""

    port: Port = 9093
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)] = 16_000
    encoding: RawEncoding = "pcm_s16le"
    legs: Annotated[tuple[LegName, ...], Field(min_length=1, max_length=8)] = ("mixed",)


class Listeners(Section):
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


class Twilio(Section):
    """``/ws/twilio``: Twilio, SignalWire, Telnyx, Plivo, Exotel."""

    auth_token: Secret | None = None
    """The account's; with it every connection must carry a valid ``X-Twilio-Signature``."""
    public_url: str | None = None
    """What the platform was told to connect to, where a proxy makes it differ: the signature covers it."""


class Vonage(Section):
    """``/ws/vonage``."""

    signature_secret: Secret | None = None
    """The account's; with it every connection must carry a valid signed JWT."""


class Asterisk(Section):
    """``/ws/asterisk``: chan_websocket."""

    leg: LegName = "mixed"
    """Where neither the URI nor a channel variable named ``leg`` says who it is."""
    media_url: Annotated[str, Field(pattern=r"^wss?://[^\s?#]+$", max_length=2048)] | None = None
    """Where an Asterisk waits for us: ``ws://pbx:8088/media``; ``POST /api/asterisk`` connects there."""


class FreeSwitch(Section):
    """``/ws/freeswitch``: mod_audio_fork and mod_audio_stream."""

    sample_rate: Literal[8_000, 16_000, 24_000, 32_000, 48_000] = 8_000
    """Hertz; those modules do not say it."""
    channels: Literal["mono", "mixed", "stereo"] = "mono"
    answer_decisions: bool = False
    """Write each decision back as JSON that the module hands to the dialplan."""


class AudioHook(Section):
    """``/ws/audiohook``: Genesys Cloud."""

    api_key: Secret | None = None
    """What ``X-API-KEY`` must be."""
    client_secret: SecretStr | None = None
    """Base64; with it every connection must carry a valid signature."""
    scores_every_s: Annotated[float, Field(ge=0.5, le=60)] = 5.0
    """Seconds of audio from one event entity with scores to the next."""

    @model_validator(mode="after")
    def _secret_is_usable(self) -> "AudioHook":
        if self.client_secret is not None and self.api_key is None:
            raise ValueError("client_secret needs api_key: the signature names the key it was made with")
        if self.client_secret is not None and not self.key:
            raise ValueError("client_secret must be base64; make one with: openssl rand -base64 32")
        return self

    @property
    def key(self) -> bytes:
        """The client secret, decoded; empty where none is set."""
        try:
            secret = self.client_secret.get_secret_value() if self.client_secret else ""
            return base64.b64decode(secret, validate=True)
        except ValueError:
            return b""


class Whip(Section):
    """``POST /whip``: WebRTC from browsers and OBS."""

    host: str = "127.0.0.1"
    """Address of this machine that takes the media, UDP; 0.0.0.0 for all but loopback."""


class Platforms(Section):
    """What speaks to the daemon's own port."""

    twilio: Twilio = Twilio()
    vonage: Vonage = Vonage()
    asterisk: Asterisk = Asterisk()
    freeswitch: FreeSwitch = FreeSwitch()
    audiohook: AudioHook = AudioHook()
    whip: Whip = Whip()


class UrlSource(Section):
    """Anything that FFmpeg opens: RTSP, HTTP, Icecast, an SDP file, a device."""

    type: Literal["url"]
    url: Annotated[SecretStr, Field(min_length=1, max_length=2048)]
    """May hold a password, and is treated as one."""
    format: str | None = None
    """FFmpeg's name of the demuxer, where the URL does not tell."""
    options: dict[str, SecretStr] = {}
    """FFmpeg's, for protocol and demuxer."""
    legs: tuple[LegName, ...] | None = None
    call_id: str | None = None


class StdinSource(Section):
    """Raw PCM on standard input."""

    type: Literal["stdin"]
    sample_rate: Annotated[int, Field(ge=4000, le=192_000)] = 16_000
    encoding: RawEncoding = "pcm_s16le"
    legs: Annotated[tuple[LegName, ...], Field(min_length=1, max_length=8)] = ("mixed",)
    call_id: str | None = None
