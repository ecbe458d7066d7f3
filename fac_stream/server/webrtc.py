"""One WebRTC sender: aiortc's connection, cut down to receiving one sound track.

::

    offer ──read──► room? ──► answer ──ICE, DTLS──► Opus ──aiortc──► 48 kHz stereo ──► mono ──► Session

Only the configured address is bound and named, no STUN or TURN server is asked, and Opus is the only codec.
Candidates that are names (``….local``) are not looked up: the sender's own checks show where it really is
(RFC 8445, section 7.3.1.3).

Loaded when the first sender comes: aiortc is an extra.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription, candidate_from_sdp

from fac_stream.audio.frames import AudioFormat, Encoding
from fac_stream.calls.intake import Session
from fac_stream.errors import ProtocolError
from fac_stream.protocols.dialogue import Media
from fac_stream.protocols.timestamps import Timestamps
from fac_stream.protocols.trickle import Candidate

log = structlog.get_logger(__name__)

ANSWER_S = 10.0
MEDIA_S = 30.0
"""From the answer to the first sound: ICE, DTLS and somebody who presses a button."""
CLOSE_S = 5.0
OPUS = "audio/opus"
MAX_CANDIDATES = 64
MAX_MEDIA = 16
"""Media lines of an offer: aiortc gives each that is not bundled sockets of its own."""
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - what is compared with, not what is bound


@dataclass(frozen=True, slots=True)
class Offer:
    """What a sender offers, as far as it can be told without a connection."""

    text: str
    kinds: tuple[str, ...]
    """Of media, a line each."""
    candidates: int
    credentials: tuple[str, str]
    """Of ICE: user fragment and password."""


def read(text: str) -> Offer:
    """Look at an offer before anything is made for it.

    Raises:
        ProtocolError: it is no offer that sends us sound in Opus.
    """
    try:
        description = SessionDescription.parse(text)
    except Exception:  # noqa: BLE001 - the parser raises whatever a bad line makes it stumble over
        raise ProtocolError("the offer is no session description") from None
    kinds = tuple(media.kind for media in description.media)
    if len(kinds) > MAX_MEDIA:
        raise ProtocolError(f"the offer has {len(kinds)} media lines; {MAX_MEDIA} is the most")
    sounds = [media for media in description.media if media.kind == "audio"]
    if len(sounds) != 1:
        raise ProtocolError(f"the offer needs one audio track, and has {len(sounds)}")
    [sound] = sounds
    if sound.direction not in ("sendonly", "sendrecv"):
        raise ProtocolError(f"the offer's audio is {sound.direction}: it has to send")
    if {*kinds} - {"audio", "video"}:
        raise ProtocolError(f"the offer has {', '.join(kinds)}: only audio is taken, and video ignored")
    if not sound.rtcp_mux or not any(codec.mimeType.lower() == OPUS for codec in sound.rtp.codecs):
        raise ProtocolError("the offer's audio needs Opus and rtcp-mux")
    if sound.dtls is None or not sound.dtls.fingerprints:
        raise ProtocolError("the offer's audio needs DTLS, and the fingerprint of its certificate")
    candidates = sum(len(media.ice_candidates) for media in description.media)
    if candidates > MAX_CANDIDATES:
        raise ProtocolError(f"at most {MAX_CANDIDATES} candidates are taken")
    ice = sound.ice
    credentials = (ice.usernameFragment or "", ice.password or "") if ice else ("", "")
    return Offer(text, kinds, candidates, credentials)


class Peer:
    """One sender.

    Args:
        host: address to receive on.
        offer: what it offers.
    """

    format = AudioFormat(48_000, Encoding.PCM_S16LE, ("mixed",))
    """What Opus decodes to, whatever was put in (RFC 7587, section 4.1)."""

    def __init__(self, host: str, offer: Offer) -> None:
        self.etag = f'"{secrets.token_urlsafe(9)}"'
        """Names its ICE session, for conditional requests."""
        self._host = host
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._offer = offer
        self._candidates = offer.candidates
        self._failed = False
        self._connection.on("connectionstatechange", self._watch)

    async def answer(self) -> str:
        """Take the offer; returns the answer, with all our candidates.

        Raises:
            ProtocolError: it cannot be answered.
        """
        audio = self._connection.addTransceiver("audio", direction="recvonly")
        codecs = RTCRtpReceiver.getCapabilities("audio").codecs  # type: ignore[union-attr]
        audio.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() == OPUS])
        try:
            async with asyncio.timeout(ANSWER_S):
                # A fragment that says there are no more candidates would rule out those that checks discover.
                description = RTCSessionDescription(_reachable(self._offer.text), "offer")
                await self._connection.setRemoteDescription(description)
                for transceiver in self._connection.getTransceivers():
                    if transceiver.kind != "audio":
                        transceiver.direction = "inactive"
                    bind(transceiver.receiver.transport.transport, self._host)
                await self._connection.setLocalDescription()
        except Exception as error:  # noqa: BLE001 - aiortc has no one class for what it cannot answer
            raise ProtocolError(
                f"the offer ({', '.join(self._offer.kinds)}) cannot be answered: {type(error).__name__}: "
                f"{error}; send one audio track in Opus, with ICE, DTLS and rtcp-mux"
            ) from None
        return self._connection.localDescription.sdp

    def restarts(self, ufrag: str, password: str) -> bool:
        """Whether these credentials are others than the offer's."""
        return bool(ufrag or password) and (ufrag, password) != self._offer.credentials

    async def add(self, candidates: tuple[Candidate, ...]) -> None:
        """Take candidates that the sender found later; those that we cannot reach are passed over.

        Raises:
            ProtocolError: one cannot be read, or there are too many.
        """
        self._candidates += len(candidates)
        if self._candidates > MAX_CANDIDATES:
            raise ProtocolError(f"at most {MAX_CANDIDATES} candidates are taken")
        for given in candidates:
            try:
                candidate = candidate_from_sdp(given.text)
            except (ValueError, IndexError, AssertionError):
                raise ProtocolError(f"no candidate: {given.text[:80]!r}") from None
            if candidate.ip.endswith(".local") or candidate.protocol.lower() != "udp":
                continue
            candidate.sdpMid = given.mid
            async with asyncio.timeout(ANSWER_S):
                await self._connection.addIceCandidate(candidate)

    async def feed(self, session: Session) -> None:
        """Pass sound on until the sender stops or is gone, and tell the session which of the two."""
        track = self._connection.getTransceivers()[0].receiver.track
        timestamps = Timestamps(self.format.sample_rate)
        heard = False
        try:
            while True:
                async with asyncio.timeout(
                    None if heard else MEDIA_S
                ):  # afterwards, the call's own idle time
                    frame = await track.recv()
                heard = True
                for media in _media(frame, timestamps):
                    session.push_nowait(media)
        except TimeoutError:
            session.lose(
                f"no sound came within {MEDIA_S:g} s of the answer: does UDP reach platforms.whip.host?"
            )
        except MediaStreamError:
            if self._failed or not heard:
                session.lose("the connection was lost" if heard else "ICE or DTLS failed: no sound came")
            else:
                session.end()
        except ProtocolError as error:
            session.fail(error)

    async def close(self) -> None:
        """End ICE, DTLS and the decoder."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()
        except Exception:
            log.exception("WebRTC connection did not close")

    def _watch(self) -> None:
        self._failed |= self._connection.connectionState == "failed"


def bind(transport: Any, host: str) -> None:
    """Let an ICE transport that has not gathered yet use one address of this machine.

    aiortc gathers on every address but loopback, and has no setting for it.
    """
    if host in _EVERYWHERE:
        return
    connection = transport.iceGatherer._connection  # noqa: SLF001 - see above
    gather: Callable[..., Coroutine[Any, Any, Any]] = type(connection).get_component_candidates

    async def gather_there(component: int, addresses: list[str], timeout: int = 5) -> Any:  # noqa: ASYNC109 - aioice's signature
        del addresses
        return await gather(connection, component=component, addresses=[host], timeout=timeout)

    connection.get_component_candidates = gather_there


def _reachable(offer: str) -> str:
    """The offer without candidates that are names, and without the line that rules out later ones."""
    return "".join(line for line in offer.splitlines(keepends=True) if not _is_passed_over(line))


def _is_passed_over(line: str) -> bool:
    if line.startswith("a=candidate:"):
        return any(word.endswith(".local") for word in line.split())
    return line.startswith("a=end-of-candidates")


def _media(frame: Any, timestamps: Timestamps) -> list[Media]:
    """A decoded packet as 48 kHz mono, behind what stands for those lost before it."""
    channels = frame.layout.nb_channels
    samples = frame.to_ndarray().reshape(-1, channels)
    mono = samples[:, 0] if channels == 1 else np.round(samples.mean(axis=1))
    place = timestamps.place(frame.pts, len(mono))
    media = [Media(mono.astype("<i2").tobytes(), at=place.at)]
    if place.fill:
        media.insert(0, Media(bytes(2 * place.fill), at=place.at - place.fill, concealed=True))
    return media
