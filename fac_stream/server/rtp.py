"""``POST /api/rtp`` and ``DELETE /api/rtp/{call_id}``: a call by RTP, its ports asked for beforehand.

::

    POST ──► one port a leg, the call begins ──► the PBX sends ──► DELETE ──► the call is complete

What nobody deletes ends by itself when no audio has come for ``ingest.idle_timeout_s``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from fac_stream.audio.codec import STATIC, Codec
from fac_stream.audio.frames import default_legs
from fac_stream.calls.intake import Intake, Session
from fac_stream.config_systems import LegName
from fac_stream.errors import ConflictError, FacError, ProtocolError
from fac_stream.listeners.delivery import deliver
from fac_stream.listeners.rtp import RtpListener, call_format
from fac_stream.listeners.rtp_port import RtpPort
from fac_stream.protocols.dialogue import Media, Start
from fac_stream.protocols.metadata import fitting
from fac_stream.protocols.pcm import CallId
from fac_stream.protocols.sdp import (
    MAX_CHARACTERS,
    Description,
    MediaLine,
    answer,
    codec_of,
    parse,
)
from fac_stream.server.bodies import small
from fac_stream.server.failure import ApiError

MAX_LEGS = 8
MAX_BODY_BYTES = 256 * 1024

Payloads = Mapping[int, Codec]


class Wanted(BaseModel):
    """The JSON of a request; everything may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    call_id: CallId | None = None
    legs: Annotated[list[LegName], Field(min_length=1, max_length=MAX_LEGS)] | None = None
    """One port each; with ``sdp``, one a media line that can be scored."""
    codecs: Annotated[dict[Annotated[int, Field(ge=0, le=127)], str], Field(max_length=64)] | None = None
    """Payload type → ``L16/16000``; where not given, those that RFC 3551 fixes."""
    sdp: Annotated[str, Field(max_length=MAX_CHARACTERS)] | None = None
    """An offer; it says the codecs, and the answer goes back."""
    metadata: dict[str, JsonValue] = {}

    @field_validator("legs")
    @classmethod
    def _legs_differ(cls, legs: list[str] | None) -> list[str] | None:
        if legs is not None and len(set(legs)) != len(legs):
            raise ValueError("legs must have different names")
        return legs

    @model_validator(mode="after")
    def _codecs_are_said_once(self) -> Self:
        if self.codecs is not None and self.sdp is not None:
            raise ValueError("codecs and sdp exclude each other: the offer says its codecs")
        return self


class RtpCalls:
    """Calls that were asked for over HTTP."""

    def __init__(self, listener: RtpListener | None, intake: Intake) -> None:
        """With the daemon's RTP listener; None where the configuration names none."""
        self._listener = listener
        self._intake = intake
        self._calls: dict[str, tuple[Session, dict[str, RtpPort]]] = {}

    def routes(self) -> list[web.RouteDef]:
        """For the application."""
        return [web.post("/api/rtp", self.allocate), web.delete("/api/rtp/{call_id}", self.release)]

    async def allocate(self, request: web.Request) -> web.Response:
        """POST /api/rtp: begin a call and open a port for each of its legs."""
        listener = self._required()
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise ApiError(413, "too_large", f"the body has more than {MAX_BODY_BYTES} bytes")
        async with small(request, MAX_BODY_BYTES) as limited:
            wanted = _wanted(await limited.read())
        try:
            offer, lines = _lines(wanted)
        except ProtocolError as error:
            raise ApiError(422, "bad_fields", str(error)) from None
        call_id, ports = self._open(listener, wanted, lines)
        if offer is None:
            media = tuple(_receiving(leg, lines[leg], ports[leg].port) for leg in lines)
            described = Description(media, listener.advertised)
        else:
            described = _answer(offer, listener.advertised, [port.port for port in ports.values()])
        body = {
            "call_id": call_id,
            "legs": {leg: {"host": listener.advertised, "port": port.port} for leg, port in ports.items()},
            "sdp": described.format(),
        }
        return web.json_response(body, status=201, headers={"Location": f"/api/rtp/{call_id}"})

    async def release(self, request: web.Request) -> web.Response:
        """DELETE /api/rtp/{call_id}: the call is complete; answers what became of its packets."""
        call_id = request.match_info["call_id"]
        if call_id not in self._calls:
            raise ApiError(404, "no_such_call", "no call with this id was begun by POST /api/rtp and goes on")
        session, ports = self._calls.pop(call_id)
        for port in ports.values():
            port.close()
        session.end()
        return web.json_response(
            {"call_id": call_id, "legs": {leg: port.counts for leg, port in ports.items()}}
        )

    def _open(
        self, listener: RtpListener, wanted: Wanted, lines: Mapping[str, Payloads]
    ) -> tuple[str, dict[str, RtpPort]]:
        fmt = call_format(lines)
        ports: dict[str, RtpPort] = {}
        session: Session | None = None

        def push(media: Media) -> None:
            # No packet is read before this method is through, so there is a session by then.
            if session is not None:
                deliver(session)(media)

        try:
            for leg, payloads in lines.items():
                ports[leg] = listener.open_port(payloads, leg, push, fmt)
            start = Start(format=fmt, call_id=wanted.call_id, metadata=fitting(wanted.metadata))
            session = self._intake.open("rtp", start, resumable=False)
            listener.follow(session, lambda _: self._forget(ports))
        except FacError as error:
            for port in ports.values():
                port.close()
            if session is not None:
                session.end()
            if isinstance(error, ConflictError):
                raise ApiError(409, "call_id_in_use", str(error)) from None
            raise
        self._calls[session.call_id] = session, ports
        return session.call_id, ports

    def _forget(self, ports: dict[str, RtpPort]) -> None:
        for port in ports.values():
            port.close()
        self._calls = {name: call for name, call in self._calls.items() if call[1] is not ports}

    def _required(self) -> RtpListener:
        if self._listener is None:
            raise ApiError(404, "rtp_is_off", "RTP is off: set listeners.rtp in the configuration")
        return self._listener


def _wanted(body: bytes) -> Wanted:
    try:
        return Wanted.model_validate_json(body or b"{}")
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            raise ApiError(400, "bad_json", "the body is no JSON object") from None
        raise ApiError(422, "bad_fields", _faults(error)) from None


def _faults(error: ValidationError) -> str:
    faults: list[Any] = [*error.errors(include_url=False)[:3]]
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])[:80]}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in faults
    )


def _lines(wanted: Wanted) -> tuple[Description | None, dict[str, Payloads]]:
    """The offer, where there is one, and the payload types of each leg.

    Raises:
        ProtocolError: nothing that is offered can be decoded, or not every leg has a line.
    """
    if wanted.sdp is None:
        payloads = _chosen(wanted.codecs) if wanted.codecs is not None else STATIC
        return None, dict.fromkeys(wanted.legs or default_legs(1), payloads)
    offer = parse(wanted.sdp)
    usable = [line.payloads for line in offer.media if line.decodable]
    if not usable:
        raise ProtocolError(
            "the offer has no audio that can be decoded: offer PCMU, PCMA, G722, L16 or opus over RTP/AVP"
        )
    legs = wanted.legs or default_legs(len(usable))
    if len(legs) != len(usable) or len(legs) > MAX_LEGS:
        raise ProtocolError(f"of the offer, {len(usable)} audio lines can be decoded; legs names {len(legs)}")
    return offer, dict(zip(legs, usable, strict=True))


def _chosen(codecs: Mapping[int, str]) -> Payloads:
    payloads = {number: codec_of(text) for number, text in codecs.items()}
    if not any(codec.decodable for codec in payloads.values()):
        raise ProtocolError("none of the codecs can be decoded: PCMU, PCMA, G722, L16 and opus can")
    return payloads


def _receiving(leg: str, payloads: Payloads, port: int) -> MediaLine:
    decodable = {number: codec for number, codec in payloads.items() if codec.decodable}
    return MediaLine("audio", "", port, decodable, "recvonly", label=leg)


def _answer(offer: Description, host: str, ports: list[int]) -> Description:
    free = iter(ports)
    return answer(offer, host, [next(free) if line.decodable else 0 for line in offer.media], "recvonly")
