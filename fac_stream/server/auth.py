"""Who may talk to the daemon.

Four questions, asked of every request in this order:

1. Is the ``Host`` one of ours? A web page that rebinds its own name to our address fails here.
2. Is a browser's ``Origin`` ours or allowed, where the request changes something or opens a socket?
3. Is it a preflight of an allowed origin? That one is answered without a token.
4. Does it carry the token, where one is set? The dashboard's files and ``/api/health`` need none.
"""

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from fac_stream.config import Server
from fac_stream.server.failure import ApiError

SUBPROTOCOL = "fac.v1"
TOKEN_SUBPROTOCOL = "fac.token."  # noqa: S105 - a prefix, no secret
OPEN = frozenset({"/{path}", "/api/health"})
"""Routes without token: the dashboard's files, which hold no secret, and the health check."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """The checks for one configuration.

    Args:
        server: hosts, origins and the token.
        proving: routes that ask for a proof of their own instead of the token.
    """

    def __init__(self, server: Server, proving: Iterable[str] = ()) -> None:
        self._open = OPEN | frozenset(proving)
        self._hosts = LOOPBACK | {_bare(server.host)} | {_bare(host) for host in server.allowed_hosts}
        self._any_address = _is_wildcard(server.host)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in server.allowed_origins)
        self._token = server.token.get_secret_value().encode() if server.token else None

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, answer it as a preflight, or refuse it."""
        self._check_host(request)
        self._check_origin(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return web.Response(status=204)
        self._check_token(request)
        return await handler(request)

    def trusts(self, request: web.Request) -> bool:
        """Whether a request carries the token, or none is asked for."""
        if self._token is None:
            return True
        return any(hmac.compare_digest(self._token, token) for token in _tokens(request))

    async def add_cors(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let pages of an allowed origin read the answer; a signal of the application."""
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin", "")
        if origin.lower() not in self._origins:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
            response.headers["Access-Control-Max-Age"] = "600"

    def _check_host(self, request: web.Request) -> None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise ApiError(400, "bad_host", "the request needs one Host header")
        name = _bare(hosts[0])
        if name in self._hosts or (self._any_address and _is_address(name)):
            return
        raise ApiError(403, "host_not_allowed", f"{name} is no name of this daemon: see server.allowed_hosts")

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        opens_socket = "Upgrade" in request.headers
        if origin is None or (request.method in _SAFE_METHODS and not opens_socket):
            return
        ours = request.headers["Host"].lower()
        if origin.lower() in self._origins or origin.lower().partition("://")[2] == ours:
            return
        raise ApiError(403, "origin_not_allowed", "pages of this origin may not: see server.allowed_origins")

    def _check_token(self, request: web.Request) -> None:
        if not self._is_open(request) and not self.trusts(request):
            raise ApiError(401, "unauthorised", "send the token: Authorization: Bearer TOKEN")

    def _is_open(self, request: web.Request) -> bool:
        resource = request.match_info.route.resource
        return resource is not None and resource.canonical in self._open


def subprotocols(request: web.Request) -> list[str]:
    """What the client offers in ``Sec-WebSocket-Protocol``."""
    headers: Iterable[str] = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [name.strip() for header in headers for name in header.split(",")]


def _tokens(request: web.Request) -> list[bytes]:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    # Bytes that are no UTF-8 reach us as surrogates.
    tokens = [token.strip().encode(errors="surrogateescape")] if kind.lower() == "bearer" else []
    for name in subprotocols(request):
        if name.startswith(TOKEN_SUBPROTOCOL):
            text = name.removeprefix(TOKEN_SUBPROTOCOL)
            try:
                tokens.append(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            except (binascii.Error, ValueError):
                continue
    return tokens


def _bare(host: str) -> str:
    """The name or address alone: no port, no brackets, no dot at the end."""
    match = _HOST.fullmatch(host)
    return ((match["v6"] or match["name"]) if match else host).lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


GUARD = web.AppKey("guard", Guard)
