"""HTTP Basic authentication (RFC 7617), for platforms that can send no other header."""

import base64
import binascii

from aiohttp import web


def password(request: web.Request) -> str | None:
    """The password that a request carries; the user name does not matter."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return pair.partition(":")[2]
