"""Signatures of webhook posts: Standard Webhooks 1.0.0, symmetric ``v1`` and asymmetric ``v1a``."""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fac_stream.config_hooks import SigningKey


def sign(keys: Iterable[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one signature for each key, with spaces between.

    Args:
        keys: more than one while a key is replaced: the receiver needs to know any of them.
        message_id: the ``webhook-id`` header; the same for every attempt.
        timestamp: the ``webhook-timestamp`` header, Unix seconds of this attempt.
        body: the exact bytes that are posted.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"{it.scheme},{base64.b64encode(_signature(it, signed)).decode()}" for it in keys)


def _signature(key: SigningKey, signed: bytes) -> bytes:
    if key.scheme == "v1":
        return hmac.digest(key.key, signed, hashlib.sha256)
    return Ed25519PrivateKey.from_private_bytes(key.key).sign(signed)
