"""Numbers of callers and called, found in what telephone systems say of a call, and their keyed hashes.

Platforms name them differently and users add fields of their own (``docs/connect``): a field counts as a
number by its name, at the top or one level down. Nothing else that could identify somebody is kept: of all
other fields only those whose names are known to be harmless, and those that ``history.metadata`` names.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fac_stream.errors import StorageError

Role = Literal["caller", "callee"]

CALLERS = frozenset(
    {
        "ani",
        "caller",
        "callerid",
        "calleridnum",
        "calleridnumber",
        "callernumber",
        "callingnumber",
        "from",
        "fromnumber",
    }
)
CALLED = frozenset(
    {
        "called",
        "callednumber",
        "callee",
        "calleenumber",
        "destination",
        "destinationnumber",
        "dnis",
        "to",
        "tonumber",
    }
)
"""Names of fields in small letters, without anything else."""
HARMLESS = frozenset({"platform", "codec", "language", "direction", "queue", "user_agent"})
"""Fields that are stored as they are."""
MAX_NUMBERS = 16
MAX_CHARACTERS = 200
"""Of a number, or of a stored field."""
KEY_BYTES = 32


class Hashes:
    """Keyed hashes, HMAC-SHA-256; the key is made at its first use, in a file of mode 0600."""

    def __init__(self, key_file: Path) -> None:
        self.key_file = key_file
        self._key: bytes | None = None

    def number(self, text: str) -> str:
        """The hash of a number, the same however it is written: 32 hexadecimal digits.

        Raises:
            StorageError: the key can be neither read nor made.
        """
        return self._hash("number", normal(text))

    def call(self, call_id: str) -> str:
        """The hash of a call's id, with which the audit log names deleted calls.

        Raises:
            StorageError: as ``number``.
        """
        return self._hash("call", call_id)

    def _hash(self, kind: str, text: str) -> str:
        if self._key is None:
            try:
                self._key = _key_of(self.key_file)
            except OSError as error:
                raise StorageError(f"{self.key_file}: {error.strerror or error}") from error
        return hmac.digest(self._key, f"{kind}:{text}".encode(), hashlib.sha256).hex()[:32]


def numbers_of(metadata: Mapping[str, Any]) -> list[tuple[Role, str]]:
    """The numbers in a call's metadata, at most ``MAX_NUMBERS``, each once."""
    found: dict[tuple[Role, str], None] = {}
    for name, value in metadata.items():
        found |= dict.fromkeys(_named(name, value))
        if isinstance(value, dict):
            for inner, text in value.items():
                found |= dict.fromkeys(_named(inner, text))
        elif name == "participants" and isinstance(value, list):
            found |= dict.fromkeys(_participants(value))
    return list(found)[:MAX_NUMBERS]


def harmless(metadata: Mapping[str, Any], also: Collection[str]) -> str:
    """What is stored of a call's metadata beside the numbers, as JSON."""
    kept = {
        name: value[:MAX_CHARACTERS] if isinstance(value, str) else value
        for name, value in metadata.items()
        if (name in HARMLESS or name in also) and isinstance(value, str | int | float)
    }
    return json.dumps(kept)


def normal(text: str) -> str:
    """A number as it is compared: digits without punctuation, ``+`` or ``00``; else the bare address.

    ``+1 (555) 123-4567``, ``tel:15551234567`` and ``sip:+15551234567@pbx.example`` are the same.
    """
    bare = re.sub(r"^(sips?|tel):", "", text.strip().strip("<>").lower()).partition(";")[0]
    digits = re.sub(r"[\s()./-]", "", bare.partition("@")[0])
    number = re.fullmatch(r"(?:\+|00)?([0-9*#]+)", digits)
    return number[1] if number else bare


def _named(name: str, value: object) -> Iterator[tuple[Role, str]]:
    plain = re.sub("[^a-z]", "", name.lower())
    role: Role | None = "caller" if plain in CALLERS else "callee" if plain in CALLED else None
    if role and isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        yield role, str(value).strip()[:MAX_CHARACTERS]


def _participants(people: list[Any]) -> Iterator[tuple[Role, str]]:
    """SIPREC: who speaks on the caller's leg is the caller."""
    for person in people:
        if isinstance(person, dict) and isinstance(address := person.get("aor"), str) and address:
            yield "caller" if person.get("leg") == "caller" else "callee", address[:MAX_CHARACTERS]


def _key_of(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        key = secrets.token_hex(KEY_BYTES).encode()
        if os.write(file, key) < len(key):
            raise OSError(0, "the disk is full: make room")
        os.fsync(file)
        with suppress(FileExistsError):  # another process was first: its key it is
            os.link(draft, path)
    finally:
        os.close(file)
        draft.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise OSError(0, f"it is no key of {2 * KEY_BYTES} hexadecimal digits: restore it, or move it away")
    return key
