"""The signature of Genesys's request: an HTTP message signature, HMAC-SHA256 under the client secret.

::

    Signature-Input: sig1=("@request-target" "@authority" … );keyid="…";nonce="…";created=…;expires=…
    Signature:       sig1=:base64 of HMAC-SHA256(secret, one line a component, then the parameters):

Each request is good for once: its nonce is remembered for as long as it could be sent again.

Source: https://developer.genesys.cloud/devapps/audiohook/security#client-authentication; it follows
https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-message-signatures (now RFC 9421) and RFC 8941.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fac_stream.errors import ProtocolError
from fac_stream.protocols.nonces import Nonces

REQUIRED = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
"""What a signature must cover, at least."""
MAX_AGE_S = 30
SKEW_S = 5
"""Seconds that the clock of Genesys may be ahead of ours."""
MIN_NONCE = 22
MAX_HEADER = 4096

_KEY = r"[a-z*][a-z0-9_.*-]*"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_PARAMETER = re.compile(rf"; *({_KEY})=({_STRING}|-?[0-9]{{1,15}})")
_INPUT = re.compile(rf" *({_KEY})=\( *((?:{_STRING} *)*)\)((?:{_PARAMETER.pattern})*) *")
_SIGNATURE = re.compile(rf" *({_KEY})=:([A-Za-z0-9+/]*={{0,2}}): *")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request is signed."""

    target: str
    """Path and query, as they came."""
    authority: str
    """The ``Host`` header."""
    headers: Mapping[str, str]
    """By name in lower case; a repeated one joined by comma and space."""

    def component(self, name: str) -> str:
        """The value of one component.

        Raises:
            ProtocolError: the request has none of this name.
        """
        if name == "@request-target":
            return self.target
        if name == "@authority":
            return self.authority.lower().removesuffix(":443")
        value = self.headers.get(name)
        if value is None:
            raise ProtocolError(f"the signature covers {name}, which the request does not have")
        return value.strip()


@dataclass(frozen=True, slots=True)
class _Input:
    """``Signature-Input``, read."""

    components: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    """As they stand, strings with their quotes."""

    def base(self, request: SignedRequest) -> bytes:
        """What is signed: RFC 9421, section 2.5."""
        lines = [f'"{name}": {request.component(name)}' for name in self.components]
        names = " ".join(f'"{name}"' for name in self.components)
        parameters = "".join(f";{key}={value}" for key, value in self.parameters)
        return "\n".join([*lines, f'"@signature-params": ({names}){parameters}']).encode(
            errors="surrogateescape"
        )

    def text(self, key: str) -> str:
        """A parameter that is a string; empty where it is absent."""
        value = dict(self.parameters).get(key, "")
        return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else ""

    def number(self, key: str) -> int | None:
        """A parameter that is a number; None where it is absent."""
        value = dict(self.parameters).get(key, "")
        return None if not value or value.startswith('"') else int(value)


class ApiKeyCheck:
    """Checks requests by their ``X-API-KEY`` alone: for integrations without a client secret."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key.encode()

    def check(self, request: SignedRequest, now: float) -> None:  # noqa: ARG002 - a key has no age
        """Take a request whose time is ``now``, Unix seconds.

        Raises:
            ProtocolError: the key is missing or wrong.
        """
        if not hmac.compare_digest(_bytes(request.headers.get("x-api-key", "")), self._api_key):
            raise ProtocolError("X-API-KEY is not platforms.audiohook.api_key")


class SignatureCheck(ApiKeyCheck):
    """Checks requests by key and signature; remembers which it has seen.

    Args:
        api_key: what ``X-API-KEY`` and the parameter ``keyid`` must be.
        secret: the client secret, decoded.
    """

    def __init__(self, api_key: str, secret: bytes) -> None:
        super().__init__(api_key)
        self._secret = secret
        self._nonces = Nonces(MAX_AGE_S + SKEW_S)

    def check(self, request: SignedRequest, now: float) -> None:
        """Take a request whose time is ``now``, Unix seconds.

        Raises:
            ProtocolError: it is not signed, not by Genesys, not now, or not for the first time.
        """
        super().check(request, now)
        signed, signature = _read(request.headers)
        missing = [name for name in REQUIRED if name not in signed.components]
        if missing:
            raise ProtocolError(f"the signature does not cover {', '.join(missing)}")
        if signed.text("alg") not in {"", "hmac-sha256"}:
            raise ProtocolError("the signature's alg must be hmac-sha256")
        digest = hmac.digest(self._secret, signed.base(request), hashlib.sha256)
        if not hmac.compare_digest(digest, signature):
            raise ProtocolError(
                "the signature does not match: compare platforms.audiohook.client_secret with the "
                "integration's, and let no proxy change path or Host"
            )
        if not hmac.compare_digest(_bytes(signed.text("keyid")), self._api_key):
            raise ProtocolError("the signature's keyid is not X-API-KEY")
        self._check_time(signed, now)
        self._check_nonce(signed.text("nonce"), now)

    def _check_time(self, signed: _Input, now: float) -> None:
        created, expires = signed.number("created"), signed.number("expires")
        if created is None:
            raise ProtocolError("the signature does not say when it was created")
        if created > now + SKEW_S:
            raise ProtocolError("the signature was created in the future: set this machine's clock (NTP)")
        if created < now - MAX_AGE_S or (expires is not None and expires < now):
            raise ProtocolError("the signature has expired: set this machine's clock (NTP)")

    def _check_nonce(self, nonce: str, now: float) -> None:
        if len(nonce) < MIN_NONCE:
            raise ProtocolError(f"the signature's nonce needs at least {MIN_NONCE} characters")
        self._nonces.take(nonce, now)


def _read(headers: Mapping[str, str]) -> tuple[_Input, bytes]:
    """The one signature of a request, and what it covers."""
    said, given = headers.get("signature-input"), headers.get("signature")
    if said is None or given is None:
        raise ProtocolError("the request is not signed: set the integration's client secret in Genesys Cloud")
    if len(said) > MAX_HEADER or len(given) > MAX_HEADER:
        raise ProtocolError(f"Signature and Signature-Input have at most {MAX_HEADER} characters")
    described, signature = _INPUT.fullmatch(said), _SIGNATURE.fullmatch(given)
    if described is None or signature is None or described[1] != signature[1]:
        raise ProtocolError("Signature-Input and Signature must hold one signature, RFC 9421")
    names = tuple(name[1:-1] for name in re.findall(_STRING, described[2]))
    parameters = tuple(_PARAMETER.findall(described[3]))
    if len(set(names)) != len(names) or len({key for key, _ in parameters}) != len(parameters):
        raise ProtocolError("Signature-Input names something twice")
    try:
        return _Input(names, parameters), base64.b64decode(signature[2], validate=True)
    except ValueError:
        raise ProtocolError("Signature is no base64") from None


def _bytes(text: str) -> bytes:
    # Bytes that are no UTF-8 reach us as surrogates.
    return text.encode(errors="surrogateescape")
