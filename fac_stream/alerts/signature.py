"""Signatures of webhook posts: Standard Webhooks 1.0.0, symmetric scheme ``v1``."""

import base64
import hashlib
import hmac


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` header.

    Args:
        key: what follows ``whsec_`` in the secret, decoded.
        message_id: the ``webhook-id`` header; the same for every attempt.
        timestamp: the ``webhook-timestamp`` header, Unix seconds of this attempt.
        body: the exact bytes that are posted.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
