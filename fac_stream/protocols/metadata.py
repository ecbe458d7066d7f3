"""What a telephone system says about a call: checked, and cut to what is kept and published with it."""

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

from fac_stream.errors import ProtocolError
from fac_stream.protocols.pcm import MAX_METADATA_BYTES, MAX_METADATA_DEPTH

CALL_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
LEG = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def fitting(fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The fields, in order, that fit into ``MAX_METADATA_BYTES`` of JSON and ``MAX_METADATA_DEPTH`` levels.

    A system that says more than that of a call, or what is no UTF-8, still gets its call through.
    """
    kept: dict[str, JsonValue] = {}
    room = MAX_METADATA_BYTES - 2
    for name, value in fields.items():
        if not _is_shallow(value, MAX_METADATA_DEPTH - 1):
            continue
        try:
            size = len(json.dumps({name: value}, ensure_ascii=False).encode())  # two bytes more than it adds
        except UnicodeEncodeError:
            continue  # bytes of a header or URL that are no text: no event could be written with them
        if size <= room:
            kept[name] = value
            room -= size
    return kept


def named_call(value: JsonValue) -> str | None:
    """The call id that somebody gave; None where nobody gave one.

    Raises:
        ProtocolError: it cannot be one.
    """
    if value is None or (isinstance(value, str) and CALL_ID.fullmatch(value)):
        return value
    raise ProtocolError(
        f"call_id={str(value)[:40]!r} cannot be one: use letters, digits and . _ : -, at most 128"
    )


def named_leg(value: JsonValue, usual: str) -> str:
    """The name of a leg that somebody gave; ``usual`` where nobody gave one.

    Raises:
        ProtocolError: it cannot be one.
    """
    if value is None:
        return usual
    if isinstance(value, str) and LEG.fullmatch(value):
        return value
    raise ProtocolError(
        f"leg={str(value)[:40]!r} cannot be a leg's name: use lower-case letters, digits, _ and -"
    )


def _is_shallow(value: JsonValue, levels: int) -> bool:
    match value:
        case dict():
            return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value.values())
        case list():
            return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value)
        case _:
            return True
