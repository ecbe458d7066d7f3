import base64
import hashlib
import hmac
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from fac_stream.config_systems import AudioHook as Settings
from fac_stream.errors import ProtocolError
from fac_stream.protocols.audiohook_signature import (
    MAX_AGE_S,
    SKEW_S,
    ApiKeyCheck,
    SignatureCheck,
    SignedRequest,
)
from fac_stream.server.audiohook import AudioHookPlatform
from fac_stream.server.failure import ApiError
from tests.peers.audiohook import sign

# The worked example of https://developer.genesys.cloud/devapps/audiohook/security
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
TARGET, AUTHORITY = "/api/v1/voicebiometrics/ws", "audiohook.example.com"
CREATED = 1641013200
HEADERS = {
    "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
    "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "x-api-key": API_KEY,
    "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
    "signature-input": (
        'sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" '
        '"audiohook-correlation-id" "x-api-key");keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";'
        'nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";alg="hmac-sha256";created=1641013200;expires=3282026430'
    ),
}


def checking():
    """A check that has seen nothing."""
    return SignatureCheck(API_KEY, base64.b64decode(SECRET))


def request(target=TARGET, authority=AUTHORITY, **headers):
    """The example, with some of it changed; None removes a header."""
    changed = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return SignedRequest(target, authority, {k: v for k, v in changed.items() if v is not None})


def signed(parameters, components=None, **headers):
    """The example signed anew with these parameters."""
    names = components or ["@request-target", "@authority", *list(HEADERS)[:4]]
    quoted = " ".join(f'"{name}"' for name in names)
    said = f"({quoted}){parameters}"
    plain = request(**headers)
    lines = [f'"{name}": {plain.component(name)}' for name in names]
    base = "\n".join([*lines, f'"@signature-params": {said}'])
    digest = base64.b64encode(hmac.digest(base64.b64decode(SECRET), base.encode(), hashlib.sha256)).decode()
    return request(signature=f"sig1=:{digest}:", signature_input=f"sig1={said}", **headers)


def parameters(created=CREATED, expires=CREATED + 999, nonce="VGhpc0lzQVVuaXF1ZU5vbmNl", keyid=API_KEY):
    """What Genesys says beside the components."""
    return f';keyid="{keyid}";nonce="{nonce}";alg="hmac-sha256";created={created};expires={expires}'


def test_the_vendor_s_example():
    """The documentation's own request is taken, once."""
    check = checking()
    check.check(request(), CREATED)
    with pytest.raises(ProtocolError, match="sent before"):
        check.check(request(), CREATED + 1)


def test_our_emulator_signs_as_the_example_does():
    """So that the end-to-end tests are worth something."""
    headers = sign(
        TARGET,
        AUTHORITY,
        {name: HEADERS[name] for name in list(HEADERS)[:4]},
        SECRET,
        created=CREATED,
        expires=3282026430,
        nonce="VGhpc0lzQVVuaXF1ZU5vbmNl",
    )
    assert headers["Signature"] == HEADERS["signature"]
    assert headers["Signature-Input"] == HEADERS["signature-input"]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"target": TARGET + "?x=1"}, "does not match"),
        ({"authority": "other.example.com"}, "does not match"),
        ({"audiohook_session_id": "30b0e395-84d3-4570-ac13-9a62d8f514c1"}, "does not match"),
        ({"audiohook_correlation_id": None}, "which the request does not have"),
        ({"x_api_key": None}, "X-API-KEY is not"),
        ({"x_api_key": API_KEY.lower()}, "X-API-KEY is not"),
        ({"signature": None}, "not signed"),
        ({"signature_input": None}, "not signed"),
        ({"signature": "sig2=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"}, "one signature"),
        ({"signature": "sig1=:AAAA:"}, "does not match"),
        ({"signature": "sig1=:AAAAA:"}, "no base64"),
        ({"signature": HEADERS["signature"] + ", " + HEADERS["signature"]}, "one signature"),
        ({"signature_input": 'sig1=("@method");created=1'}, "does not cover @request-target"),
        ({"signature_input": HEADERS["signature-input"].replace('"x-api-key"', "")}, "cover x-api-key"),
        ({"signature_input": HEADERS["signature-input"] + ";created=1641013201"}, "twice"),
        ({"signature_input": HEADERS["signature-input"].replace("3282026430", "9")}, "does not match"),
        ({"signature_input": "sig1=(" + '"a" ' * 2000 + ")"}, "at most 4096"),
    ],
    ids=str,
)
def test_what_was_changed_is_refused(changed, fault):
    """Every part of the example is covered: none can be changed, left out or doubled."""
    with pytest.raises(ProtocolError, match=fault):
        checking().check(request(**changed), CREATED)


def test_the_authority_is_compared_as_a_host():
    """Case and the scheme's own port say nothing: RFC 9421, section 2.2.3."""
    checking().check(request(authority="AudioHook.example.com:443"), CREATED)


@pytest.mark.parametrize("late", [-SKEW_S, 0, MAX_AGE_S])
def test_a_request_is_good_for_half_a_minute(late):
    """Between a little ahead of our clock and ``MAX_AGE_S`` behind it."""
    checking().check(signed(parameters()), CREATED + late)


@pytest.mark.parametrize(
    ("given", "now", "fault"),
    [
        (parameters(), CREATED - SKEW_S - 1, "in the future"),
        (parameters(), CREATED + MAX_AGE_S + 1, "expired"),
        (parameters(expires=CREATED + 5), CREATED + 6, "expired"),
        (f';keyid="{API_KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl"', CREATED, "when it was created"),
        (parameters(nonce="short"), CREATED, "nonce needs at least 22"),
        (parameters(keyid="another"), CREATED, "keyid is not"),
        (parameters().replace("hmac-sha256", "rsa-pss-sha512"), CREATED, "alg must be"),
    ],
    ids=["future", "old", "expired", "timeless", "nonce", "keyid", "alg"],
)
def test_what_is_signed_well_but_says_wrong_is_refused(given, now, fault):
    """A valid digest does not excuse what stands beside it."""
    with pytest.raises(ProtocolError, match=fault):
        checking().check(signed(given), now)


def test_more_may_be_covered_than_must_be():
    """Genesys may sign other headers, too, and write the input with spaces."""
    names = ["@authority", "@request-target", *list(HEADERS)[:4], "user-agent"]
    check = checking()
    check.check(signed(parameters(), names, user_agent="GenesysCloud"), CREATED)
    with pytest.raises(ProtocolError, match="the request does not have"):
        check.check(signed(parameters(), ["@method", *names[:-1]]), CREATED)


def test_a_replay_is_known_for_as_long_as_it_would_be_good():
    """Every other nonce passes meanwhile; what is too old to pass is forgotten."""
    check = checking()
    first = signed(parameters(created=CREATED + SKEW_S))
    for now in range(CREATED, CREATED + MAX_AGE_S + SKEW_S + 1):
        check.check(signed(parameters(created=now, nonce=f"{now:022}")), now)
        if now == CREATED:
            check.check(first, now)
            continue
        with pytest.raises(ProtocolError, match="sent before"):
            check.check(first, now)
    assert len(check._nonces) <= MAX_AGE_S + SKEW_S + 2

    check.check(signed(parameters(created=now + 100, nonce="n" * 22)), now + 100)
    assert len(check._nonces) == 1


PIECES = ["sig1=", "(", ")", '"x-api-key"', '"@authority"', ";created=1", ' ;nonce="', "\\", ":AA==:"]
HEADER = st.one_of(
    st.text(st.characters(codec="latin-1"), max_size=60),
    st.lists(
        st.sampled_from(PIECES),
        max_size=30,
    ).map("".join),
)


@given(HEADER, HEADER)
def test_any_header_is_refused_with_a_reason(said, given_signature):
    """Nothing but ProtocolError, whatever stands in the headers."""
    with pytest.raises(ProtocolError):
        checking().check(request(signature=given_signature, signature_input=said), CREATED)


@pytest.mark.parametrize("key", [None, "", API_KEY + "x", "\udcff"])
def test_a_key_alone_is_compared(key):
    """Without a client secret the API key is all there is."""
    check = ApiKeyCheck(API_KEY)
    check.check(request(signature=None, signature_input=None), CREATED)
    with pytest.raises(ProtocolError):
        check.check(request(x_api_key=key), CREATED)


def asked(**headers):
    """A request as the platform gets it from aiohttp."""
    named = {name.title(): value for name, value in HEADERS.items()} | {"Host": AUTHORITY} | headers
    return SimpleNamespace(headers=CIMultiDict(named), raw_path=TARGET, remote="192.0.2.1")


def test_the_platform_refuses_without_telling_why():
    """401 for whoever asks; the reason is for the log. What is right is taken, and counts as proof."""
    platform = AudioHookPlatform(Settings(api_key=API_KEY, client_secret=SECRET))
    with pytest.raises(ApiError, match="log has the details") as refused:
        platform.authorise(asked())  # in 2022
    assert refused.value.status == 401

    key_only = AudioHookPlatform(Settings(api_key=API_KEY))
    assert key_only.authorise(asked())
    with pytest.raises(ApiError):
        key_only.authorise(asked(**{"X-Api-Key": "wrong"}))


def test_without_settings_the_platform_proves_nothing():
    """The daemon's own token is asked for then, where one is set."""
    assert not AudioHookPlatform(Settings()).authorise(asked())


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"client_secret": SECRET}, "needs api_key"),
        ({"api_key": API_KEY, "client_secret": "no base64!"}, "must be base64"),
        ({"api_key": API_KEY, "client_secret": ""}, "must be base64"),
        ({"scores_every_s": 0.1}, "greater than or equal"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, fault):
    """When the configuration is read, not when the first call comes."""
    with pytest.raises(ValidationError, match=fault):
        Settings(**settings)
