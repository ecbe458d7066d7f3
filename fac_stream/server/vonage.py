"""``/ws/vonage``: the audio of a Vonage call, and the proof that Vonage sent it."""

import base64
import binascii
import hmac
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from fac_stream.config_systems import Vonage
from fac_stream.errors import ProtocolError
from fac_stream.protocols.nonces import Nonces
from fac_stream.protocols.objects import parse_object
from fac_stream.protocols.preamble import PreambleStream
from fac_stream.protocols.vonage import vonage_stream
from fac_stream.server.failure import ApiError

MAX_AGE_S = 300.0
"""Of a signed token; clocks may differ by as much."""


class VonagePlatform:
    """One address."""

    name = "vonage"
    paths = ("/ws/vonage",)
    subprotocols: tuple[str, ...] = ()
    sends_token = False

    def __init__(self, settings: Vonage, now: Callable[[], float] = time.time) -> None:
        secret = settings.signature_secret
        self._key = secret.get_secret_value().encode() if secret else None
        self._seen = Nonces(2 * MAX_AGE_S)
        self._now = now

    def authorise(self, request: web.Request) -> bool:
        """Check the signed JWT of ``Authorization: Bearer``; False where no ``signature_secret`` is set.

        Raises:
            ApiError: the JWT is missing, wrong or old, or was shown before.
        """
        if self._key is None:
            return False
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        now = self._now()
        claims = signed(self._key, token.strip(), now) if kind.lower() == "bearer" else None
        if claims is None:
            raise ApiError(
                401,
                "bad_signature",
                'the signed JWT is missing, wrong or old: set "authorization": {"type": "vonage"} in the '
                "NCCO's endpoint, and check platforms.vonage.signature_secret and this machine's clock",
            )
        try:
            self._seen.take(claims["jti"], now)
        except ProtocolError as error:
            raise ApiError(401, "bad_signature", f"the signed JWT's jti: {error}") from None
        return True

    def dialogue(self, _request: web.Request) -> PreambleStream:
        """A parser."""
        return vonage_stream()


def signed(key: bytes, token: str, now: float) -> dict[str, Any] | None:
    """The claims of a JWT (RFC 7519) signed with HS256 and this key and issued just now; None for any other.

    Vonage's claims are ``iat``, ``jti``, ``iss``, ``api_key`` and ``application_id``
    (developer.vonage.com/en/getting-started/concepts/webhooks, signed webhooks).
    """
    head, dot, signature = token.rpartition(".")
    header, _, claims = head.partition(".")
    expected = base64.urlsafe_b64encode(hmac.digest(key, head.encode(errors="replace"), "sha256")).rstrip(
        b"="
    )
    if not dot or not hmac.compare_digest(expected, signature.encode(errors="replace")):
        return None
    try:
        algorithm = parse_object(_decoded(header)).get("alg")
        said = parse_object(_decoded(claims))
    except (ProtocolError, binascii.Error, ValueError):
        return None
    issued, expires = said.get("iat"), said.get("exp", now)
    proven = (
        algorithm == "HS256"
        and isinstance(issued, int | float)
        and abs(now - issued) <= MAX_AGE_S
        and isinstance(expires, int | float)
        and expires >= now
        and isinstance(said.get("jti"), str)
    )
    return said if proven else None


def _decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
