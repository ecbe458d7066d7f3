"""JSON objects as telephone platforms send them: bounded, numbers as strings, a token among the rest."""

import re
from typing import Any

from pydantic_core import from_json

from fac_stream.errors import ProtocolError

MAX_TEXT_CHARACTERS = 256 * 1024
"""Of a text message. Ten seconds of G.711 in Base64 are 107 thousand; platforms send 20 to 100 ms."""
_DIGITS = re.compile(r"[0-9]{1,15}")


def parse_object(text: str, most: int = MAX_TEXT_CHARACTERS) -> dict[str, Any]:
    """A text message of at most ``most`` characters as a JSON object (RFC 8259).

    Raises:
        ProtocolError: it is none, or too long.
    """
    if len(text) > most:
        raise ProtocolError(f"a text message has at most {most} characters")
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError(f"a text message must be JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ProtocolError("a text message must be a JSON object")
    return fields


def member(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of this name inside another one.

    Raises:
        ProtocolError: there is none.
    """
    value = fields.get(name)
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} must be a JSON object")
    return value


def whole(value: object, name: str) -> int:
    """A number from 0 to 10¹⁵, written as one or as a string of digits.

    Raises:
        ProtocolError: it is neither.
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15:
        return value
    raise ProtocolError(f"{name} must be a whole number")


def take_token(fields: dict[str, Any]) -> str | None:
    """Remove ``token`` from what users added to the call, so that it reaches no event; return it."""
    token = fields.pop("token", None)
    return token if isinstance(token, str) else None
