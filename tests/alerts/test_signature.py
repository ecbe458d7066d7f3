import base64
import shutil
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from fac_stream.alerts.signature import sign
from fac_stream.config_hooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
"""The first key pair of RFC 8032, 7.1."""
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'


def secret_of(key, prefix="whsk_"):
    """A secret as it stands in a configuration."""
    return prefix + base64.b64encode(key).decode()


def keys(*secrets):
    """The keys of a webhook with these secrets."""
    return Webhook(url="http://x", secret=list(secrets)).keys


def test_the_published_example():
    """The signature of the example that the Standard Webhooks libraries test with."""
    assert sign(keys(SECRET), ID, 1614265330, BODY) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_everything_signed_matters():
    """Another key, id, time or body gives another signature."""
    original = sign(keys(SECRET), ID, 1, BODY)

    others = {
        sign(keys(SECRET[:-4] + "LaSx"), ID, 1, BODY),
        sign(keys(SECRET), ID + "x", 1, BODY),
        sign(keys(SECRET), ID, 2, BODY),
        sign(keys(SECRET), ID, 1, BODY + b" "),
    }
    assert original not in others
    assert len(others) == 4


@pytest.mark.parametrize("key", [SEED, SEED + PUBLIC], ids=["seed", "pair"])
def test_an_asymmetric_signature_verifies_with_the_public_key(key):
    """The receiver needs no secret; a byte more or less of what was signed does not verify."""
    scheme, _, text = sign(keys(secret_of(key)), ID, 1614265330, BODY).partition(",")
    signature = base64.b64decode(text, validate=True)
    public = Ed25519PublicKey.from_public_bytes(PUBLIC)

    assert scheme == "v1a"
    public.verify(signature, f"{ID}.1614265330.".encode() + BODY)
    with pytest.raises(InvalidSignature):
        public.verify(signature, f"{ID}.1614265330.".encode() + BODY + b" ")


def test_keys_are_replaced_without_a_gap():
    """Each secret signs: the signatures stand in one header in the order of the secrets."""
    old, new = SECRET, secret_of(b"n" * 32, "whsec_")

    signatures = sign(keys(new, old, secret_of(SEED)), ID, 1, BODY).split(" ")

    assert signatures == [sign(keys(it), ID, 1, BODY) for it in (new, old, secret_of(SEED))]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_documented_commands_make_a_key_pair(tmp_path):
    """What docs/webhooks.md tells to type gives a secret that we take and the public key that fits it."""
    commands = """
        openssl genpkey -algorithm ed25519 -out key.pem
        echo "whsk_$(openssl pkey -in key.pem -outform DER | tail -c 32 | base64)"
        echo "whpk_$(openssl pkey -in key.pem -pubout -outform DER | tail -c 32 | base64)"
    """
    run = subprocess.run(
        ["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    secret, public = run.stdout.split()

    (signature,) = (it.partition(",")[2] for it in sign(keys(secret), ID, 1, BODY).split())

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), f"{ID}.1.".encode() + BODY)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        secret_of(b"k" * 23, "whsec_"),
        secret_of(b"k" * 65, "whsec_"),
        secret_of(b"k" * 31),
        secret_of(PUBLIC, "whpk_"),
        [],
    ],
)
def test_what_is_no_secret_is_refused_without_being_told(secret):
    """A key that is too short, too long, public or not base64 is a fault that names no part of it."""
    with pytest.raises(ValidationError) as caught:
        Webhook(url="http://x", secret=secret)

    told = caught.value.errors()[0]["msg"]
    assert len(secret) < 12 or secret not in told
