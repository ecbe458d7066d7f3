"""WebRTC through WHIP (RFC 9725): browsers, OBS, GStreamer.

::

    POST /whip  offer ──► 201, answer, Location: /whip/{session}
    PATCH  /whip/{session}  more candidates ──► 204
    DELETE /whip/{session}  ──► 200: the call is complete

The call begins with the POST, so a daemon that is full says so at once. ``?call_id=…`` names it, and lets a
sender that lost its connection continue its call. The token comes as ``Authorization: Bearer``, as always.

ICE restarts are not supported (422), and video is answered with ``a=inactive`` rather than refused, because
OBS cannot leave it out.
"""

import asyncio
import importlib
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from fac_stream.audio.frames import AudioFormat
from fac_stream.calls.intake import Session
from fac_stream.errors import ConflictError, FacError, ProtocolError, RefusedError, SourceError
from fac_stream.protocols import trickle
from fac_stream.protocols.dialogue import Start
from fac_stream.protocols.metadata import fitting
from fac_stream.protocols.pcm import CallId
from fac_stream.server.bodies import small
from fac_stream.server.failure import ApiError
from fac_stream.server.services import Services

if TYPE_CHECKING:
    from fac_stream.server.webrtc import Offer, Peer

log = structlog.get_logger(__name__)

OFFER = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_BODY_BYTES = 64 * 1024
_EXPOSED = {"Access-Control-Expose-Headers": "Location, ETag"}


@dataclass(slots=True)
class _Sending:
    """One sender and its call."""

    peer: "Peer"
    session: Session


class Whip:
    """All senders."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sending: dict[str, _Sending] = {}
        self._group: asyncio.TaskGroup | None = None

    def routes(self) -> list[web.RouteDef]:
        """The endpoint, and one address a session."""
        return [
            web.post("/whip", self.begin),
            web.get("/whip", self.nothing),
            web.options("/whip", self.nothing),
            web.get("/whip/{session}", self.nothing),
            web.patch("/whip/{session}", self.trickle),
            web.delete("/whip/{session}", self.end),
        ]

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """A clean-up context of the application: holds the senders' tasks."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            yield
            self._group = None

    async def begin(self, request: web.Request) -> web.Response:
        """POST /whip."""
        if self._services.scorer is None:
            raise ApiError(503, "model_not_loaded", "no model is loaded", retry_after_s=60)
        offer = await _body(request, OFFER)
        call_id = _call_id(request)
        webrtc = await asyncio.to_thread(_webrtc)
        try:
            peer, answer, name = await self._connect(webrtc, webrtc.read(offer), call_id, request)
        except ProtocolError as error:
            raise ApiError(422, "bad_offer", str(error)) from None
        return web.Response(
            status=201,
            text=answer,
            content_type=OFFER,
            headers={"Location": f"/whip/{name}", "ETag": peer.etag, "Accept-Patch": FRAGMENT, **_EXPOSED},
        )

    async def nothing(self, request: web.Request) -> web.Response:
        """GET and OPTIONS: there is nothing to see (RFC 9725, section 4.1), but it may be asked."""
        if "session" in request.match_info:
            self._of(request)
        return web.Response(status=204, headers={"Accept-Post": OFFER})

    async def trickle(self, request: web.Request) -> web.Response:
        """PATCH /whip/{session}: more candidates; their ICE session is named by ``If-Match``."""
        peer = self._of(request).peer
        try:
            fragment = trickle.parse(await _body(request, FRAGMENT))
            condition = request.headers.get("If-Match")
            if condition is None:
                raise ApiError(428, "etag_missing", "send the ETag of the answer as If-Match")
            if condition.strip() == "*" or peer.restarts(fragment.ufrag, fragment.password):
                raise ApiError(422, "no_ice_restart", "ICE restarts are not supported: DELETE and POST again")
            if peer.etag not in [tag.strip() for tag in condition.split(",")]:
                raise ApiError(412, "etag_mismatch", "this is another ICE session than If-Match names")
            await peer.add(fragment.candidates)
        except ProtocolError as error:
            raise ApiError(400, "bad_fragment", str(error)) from None
        return web.Response(status=204)

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /whip/{session}."""
        self._of(request).session.end()
        return web.Response(status=200)

    async def _connect(
        self, webrtc: ModuleType, offer: "Offer", call_id: str | None, request: web.Request
    ) -> tuple["Peer", str, str]:
        """Admit the call, then make its connection: it costs sockets and keys.

        Returns:
            The connection, its answer, and the session's name.
        """
        if self._group is None:
            raise RefusedError("the daemon is stopping")
        session = self._admit(webrtc.Peer.format, call_id, request)
        peer: Peer | None = None
        try:
            peer = webrtc.Peer(self._services.config.platforms.whip.host, offer)
            answer = await peer.answer()
            name, sending = secrets.token_urlsafe(18), _Sending(peer, session)
            self._group.create_task(self._serve(name, sending))
        except BaseException as error:
            session.fail(error if isinstance(error, FacError) else SourceError("no answer was given"))
            if peer:
                await peer.close()
            raise
        self._sending[name] = sending
        return peer, answer, name

    def _admit(self, fmt: AudioFormat, call_id: str | None, request: web.Request) -> Session:
        agent = request.headers.get("User-Agent", "")[:200]
        metadata = {"user_agent": agent} if agent else {}
        try:
            return self._services.intake.open("whip", Start(fmt, call_id, fitting(metadata)))
        except ConflictError as error:
            raise ApiError(409, "call_id_in_use", str(error)) from None
        except RefusedError as error:
            self._services.metrics.on_refusal("full")
            raise ApiError(503, "full", str(error), retry_after_s=10) from None

    async def _serve(self, name: str, sending: _Sending) -> None:
        """One sender, until its call is over or goes on with another."""
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(sending.peer.feed(sending.session))
                await sending.session.ended()
                feeding.cancel()
        except Exception:
            log.exception("WebRTC sender failed", call_id=sending.session.call_id)
            sending.session.lose("internal error; the daemon's log has the details")
        finally:
            del self._sending[name]
            await sending.peer.close()

    def _of(self, request: web.Request) -> _Sending:
        sending = self._sending.get(request.match_info["session"])
        if sending is None:
            raise ApiError(404, "not_found", "no such session: it has ended")
        return sending


def _webrtc() -> ModuleType:
    try:
        webrtc = importlib.import_module("fac_stream.server.webrtc")  # an extra
    except ImportError:
        raise ApiError(501, "whip_not_installed", "install aiortc: pip install 'fac-stream[whip]'") from None
    for library in ("aioice", "aiortc"):
        logging.getLogger(library).setLevel(logging.WARNING)  # they tell every check of every address
    return webrtc


async def _body(request: web.Request, kind: str) -> str:
    """A small text of the right kind."""
    if request.content_type != kind:
        raise ApiError(415, "bad_content_type", f"send Content-Type: {kind}")
    async with small(request, MAX_BODY_BYTES) as limited:
        data = await limited.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_body", "the body must be UTF-8") from None


def _call_id(request: web.Request) -> str | None:
    given = request.query.get("call_id")
    try:
        return TypeAdapter[str](CallId).validate_python(given) if given else None
    except ValidationError:
        raise ApiError(400, "bad_call_id", "call_id takes 1 to 128 of: A-Z a-z 0-9 . _ : -") from None
