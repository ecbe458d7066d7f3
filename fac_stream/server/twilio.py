"""``/ws/twilio``: Twilio, SignalWire, Telnyx, Plivo, Exotel; and the proof that Twilio itself connects."""

import base64
import hmac
from collections.abc import Iterator
from urllib.parse import urlsplit

from aiohttp import web

from fac_stream.config_systems import Twilio
from fac_stream.protocols.twilio import TwilioStream
from fac_stream.server.failure import ApiError

_DEFAULT_PORTS = {"wss": "443", "https": "443", "ws": "80", "http": "80"}


class TwilioPlatform:
    """The family on its one address."""

    name = "twilio"
    paths = ("/ws/twilio",)
    subprotocols: tuple[str, ...] = ()
    sends_token = False

    def __init__(self, settings: Twilio) -> None:
        self._key = settings.auth_token.get_secret_value().encode() if settings.auth_token else None
        self._public_url = settings.public_url

    def authorise(self, request: web.Request) -> bool:
        """Check ``X-Twilio-Signature``; False where no ``auth_token`` is set.

        Raises:
            ApiError: the signature is missing or wrong.
        """
        if self._key is None:
            return False
        signature = request.headers.get("X-Twilio-Signature", "")
        if not signed(self._key, signature, self._url(request)):
            raise ApiError(
                401,
                "bad_signature",
                "X-Twilio-Signature is missing or wrong: check platforms.twilio.auth_token, "
                "and set public_url beside it to the address that Twilio was told",
            )
        return True

    def dialogue(self, request: web.Request) -> TwilioStream:
        """A parser; Telnyx sends its token with the handshake."""
        return TwilioStream(request.headers.get("x-telnyx-streaming-auth-token"))

    def _url(self, request: web.Request) -> str:
        """The address as the platform knows it."""
        if self._public_url is None:
            return f"wss://{request.headers['Host']}{request.raw_path}"
        has_path = urlsplit(self._public_url).path not in {"", "/"}
        return self._public_url if has_path else self._public_url.rstrip("/") + request.raw_path


def signed(key: bytes, signature: str, url: str) -> bool:
    """Whether Twilio signed a request without a body to this address.

    The signature is Base64 of HMAC-SHA1, keyed with the account's auth token, over the address
    (twilio.com/docs/usage/security). Which spelling of the address is signed has varied: ``wss`` or
    ``https``, with and without the scheme's own port, with and without a slash at the end. All are the same
    place, so each is as good a proof.
    """
    given = signature.encode(errors="surrogateescape")
    return any(hmac.compare_digest(given, _signature(key, spelling)) for spelling in _spellings(url))


def _signature(key: bytes, url: str) -> bytes:
    return base64.b64encode(hmac.digest(key, url.encode(errors="surrogateescape"), "sha1"))


def _spellings(url: str) -> Iterator[str]:
    place, mark, query = url.partition("://")[2].partition("?")
    host, _, path = place.partition("/")
    path = path.rstrip("/")
    ends = (f"/{path}", f"/{path}/") if path else ("", "/")
    for scheme, port in _DEFAULT_PORTS.items():
        bare = host.removesuffix(f":{port}")
        # Another port than the scheme's own is part of the address.
        names = (bare,) if ":" in bare.rpartition("]")[2] else (bare, f"{bare}:{port}")
        for name in names:
            for end in ends:
                yield f"{scheme}://{name}{end}{mark}{query}"
