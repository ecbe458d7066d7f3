import base64
import hashlib
import hmac
import json

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fac_stream.config_systems import Platforms, Twilio, Vonage
from fac_stream.server.failure import ApiError
from fac_stream.server.jambonz import JambonzPlatform
from fac_stream.server.twilio import TwilioPlatform, signed
from fac_stream.server.vonage import MAX_AGE_S, VonagePlatform
from tests.peers.twilio import signature
from tests.peers.vonage import jwt

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0


def twilio(public_url=None, auth_token=KEY):
    """A platform with this account's auth token."""
    return TwilioPlatform(Twilio(auth_token=auth_token, public_url=public_url))


def handshake(path="/ws/twilio", host="voice.example.com", **headers):
    """A GET with these headers."""
    return make_mocked_request("GET", path, headers={"Host": host, **headers})


def test_the_signature_is_openssls():
    """``printf ADDRESS | openssl dgst -sha1 -hmac KEY -binary | base64`` gives what is accepted."""
    assert signed(KEY.encode(), "DQQhj2qLgwJb4m70cS7SeqAHeBE=", "wss://voice.example.com/ws/twilio")


@pytest.mark.parametrize(
    "url",
    [
        "wss://voice.example.com/ws/twilio",
        "https://voice.example.com/ws/twilio",
        "wss://voice.example.com:443/ws/twilio",
        "wss://voice.example.com/ws/twilio/",
        "https://voice.example.com:443/ws/twilio/",
    ],
)
def test_every_spelling_of_the_address_is_a_proof(url):
    """Scheme, usual port and last slash may be spelled as Twilio happens to."""
    request = handshake(**{"X-Twilio-Signature": signature(KEY, url)})
    assert twilio().authorise(request) is True


@pytest.mark.parametrize(
    "url",
    [
        "wss://other.example.com/ws/twilio",
        "wss://voice.example.com:8443/ws/twilio",
        "wss://voice.example.com/ws/vonage",
        "wss://voice.example.com/ws/twilio?x=1",
        "wss://voice.example.com/ws/Twilio",
        "",
    ],
)
def test_another_address_is_no_proof(url):
    """A signature that Twilio made for somebody else's address opens nothing."""
    request = handshake(**{"X-Twilio-Signature": signature(KEY, url)})
    with pytest.raises(ApiError, match="public_url") as refused:
        twilio().authorise(request)
    assert refused.value.status == 401


@pytest.mark.parametrize("given", [None, "", "bm9wZQ==", "ü"])
def test_a_missing_or_broken_signature_is_refused(given):
    """Whatever stands in the header is compared as bytes."""
    headers = {} if given is None else {"X-Twilio-Signature": given}
    with pytest.raises(ApiError, match="X-Twilio-Signature"):
        twilio().authorise(handshake(**headers))


def test_another_key_is_no_proof():
    """The signature of another account is refused."""
    request = handshake(**{"X-Twilio-Signature": signature("other", "wss://voice.example.com/ws/twilio")})
    with pytest.raises(ApiError):
        twilio().authorise(request)


@pytest.mark.parametrize(
    ("public_url", "path", "signed_url"),
    [
        ("wss://voice.example.com/ws/twilio", "/ws/twilio", "wss://voice.example.com/ws/twilio"),
        ("https://voice.example.com", "/ws/twilio", "wss://voice.example.com/ws/twilio"),
        ("wss://voice.example.com/", "/ws/twilio/t0k", "wss://voice.example.com/ws/twilio/t0k"),
        ("wss://voice.example.com/calls", "/ws/twilio", "wss://voice.example.com/calls"),
        ("wss://voice.example.com:8443/calls", "/ws/twilio", "wss://voice.example.com:8443/calls"),
        ("wss://[2001:db8::1]/calls", "/ws/twilio", "wss://[2001:db8::1]:443/calls"),
    ],
)
def test_behind_a_proxy_the_public_address_counts(public_url, path, signed_url):
    """What the proxy made of host and path does not matter; an address without a path keeps the request's."""
    request = handshake(path, "10.0.0.7:8080", **{"X-Twilio-Signature": signature(KEY, signed_url)})
    assert twilio(public_url).authorise(request) is True


def test_without_a_secret_nothing_is_proven():
    """Then the daemon's own token is asked for, if there is one."""
    assert twilio(auth_token=None).authorise(handshake()) is False
    assert VonagePlatform(Vonage()).authorise(handshake()) is False
    assert JambonzPlatform().authorise(handshake()) is False


@given(st.text(), st.text())
def test_whatever_is_signed_or_asked_for_is_compared(given, url):
    """No header and no address makes the check fail in another way than by saying no."""
    assert signed(KEY.encode(), given, url) is False
    assert signed(KEY.encode(), given + "\udcff", url + "\udcff") is False  # bytes that were no UTF-8


def vonage(**headers):
    """Ask a platform whose clock stands at ``NOW``."""
    platform = VonagePlatform(Vonage(signature_secret=KEY), lambda: NOW)
    return platform.authorise(handshake("/ws/vonage", **headers))


def test_a_fresh_jwt_of_vonage_is_a_proof():
    """Signed with the account's secret, issued within five minutes."""
    for age in (-MAX_AGE_S, 0, MAX_AGE_S):
        assert vonage(Authorization=f"Bearer {jwt(KEY, iat=NOW - age)}") is True


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        jwt("other", iat=NOW),
        jwt(KEY, iat=NOW - MAX_AGE_S - 1),
        jwt(KEY, iat=NOW + MAX_AGE_S + 1),
        jwt(KEY, iat="now"),
        jwt(KEY, iat=None),
        jwt(KEY, iat=NOW, exp=NOW - 1),
        jwt(KEY, iat=NOW, exp="never"),
        jwt(KEY, iat=NOW, jti=None),
        jwt(KEY, iat=NOW, jti=7),
        jwt(KEY, iat=NOW, jti="x" * 1000),
        jwt(KEY, "none", iat=NOW),
        jwt(KEY, "HS512", iat=NOW),
        jwt(KEY, iat=NOW).rpartition(".")[0] + ".",
        jwt(KEY, iat=NOW)[1:],
    ],
)
def test_any_other_jwt_is_refused(token):
    """Another key, an old one, another algorithm, none at all, no JWT."""
    with pytest.raises(ApiError, match="JWT"):
        vonage(Authorization=f"Bearer {token}")


def test_a_jwt_counts_once():
    """Who reads one on its way brings no call of their own with it, for as long as it would be good."""
    clock = [NOW]
    platform = VonagePlatform(Vonage(signature_secret=KEY), lambda: clock[0])
    token = jwt(KEY, iat=NOW + MAX_AGE_S)
    assert platform.authorise(handshake("/ws/vonage", Authorization=f"Bearer {token}"))
    for clock[0] in (NOW, NOW + MAX_AGE_S, NOW + 2 * MAX_AGE_S):
        with pytest.raises(ApiError, match="sent before"):
            platform.authorise(handshake("/ws/vonage", Authorization=f"Bearer {token}"))
    assert platform.authorise(handshake("/ws/vonage", Authorization=f"Bearer {jwt(KEY, iat=clock[0])}"))


def test_a_signed_token_that_is_no_jwt_is_refused():
    """The right signature over claims that are no JSON, or no text, is still none."""
    for claims in (b"[]", b"\xff", b"{"):
        head = f"{_part(json.dumps({'alg': 'HS256'}).encode())}.{_part(claims)}"
        token = f"{head}.{_part(hmac.digest(KEY.encode(), head.encode(), hashlib.sha256))}"
        with pytest.raises(ApiError):
            vonage(Authorization=f"Bearer {token}")


def test_a_jwt_must_be_a_bearer():
    """Another kind of authorisation is none."""
    with pytest.raises(ApiError):
        vonage(Authorization=f"Basic {jwt(KEY, iat=NOW)}")
    with pytest.raises(ApiError):
        vonage()


def _part(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    "secret",
    [
        {"twilio": {"auth_token": ""}},
        {"vonage": {"signature_secret": ""}},
        {"audiohook": {"api_key": ""}},
    ],
)
def test_an_empty_secret_is_no_secret(secret):
    """Taken for none, it would let everybody in whom it was meant to keep out."""
    with pytest.raises(ValidationError):
        Platforms.model_validate(secret)
