"""The file format of evidence, version 1: a header that anybody may read, and what only the key opens.

::

    offset  bytes
    0       8      "FACEVID" and the version, 0x01
    8       4      length of the header, big-endian
    12      n      the header: JSON, UTF-8
    12+n    12     nonce, random
    24+n    rest   AES-256-GCM of the content, its 16-byte tag last

Everything before the ciphertext is its associated data: who changes a byte of alert, bundle, purpose or
times, or of anything else, is found out. A random nonce of 96 bits is safe for 2^32 files a key (NIST
SP 800-38D, section 8.3).
"""

import hashlib
import os
import struct
from datetime import datetime
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from fac_stream.errors import StorageError

MAGIC = b"FACEVID"
VERSION = 1
NONCE_BYTES = 12
MAX_HEADER_BYTES = 16 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
_PREFIX = struct.Struct(">7sBI")

AlertId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Header(BaseModel):
    """What can be read without the key, and changed by nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert_id: AlertId
    call_id: Annotated[str, Field(max_length=1024)]
    bundle: Annotated[str, Field(max_length=256)]
    """``name@hash`` of the bundle that scored the audio."""
    purpose: Annotated[str, Field(max_length=200)]
    """What it is kept for."""
    raised_at: AwareDatetime
    """When the alert was raised."""
    written_at: AwareDatetime
    keep_until: AwareDatetime
    """When it is removed at the latest."""
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Which key opens it, see ``key_id``."""
    content: Literal["record+f32le"] = "record+f32le"
    """What is in it, see ``fac_stream.evidence.record``."""

    def expires(self, keep_s: float) -> datetime:
        """When it is to be removed, where the configuration now says to keep evidence for ``keep_s``."""
        return min(
            self.keep_until,
            datetime.fromtimestamp(self.written_at.timestamp() + keep_s, self.written_at.tzinfo),
        )


def key_id(key: bytes) -> str:
    """Sixteen hex digits that tell keys apart and say nothing else of them."""
    return hashlib.sha256(b"fac-stream evidence key id" + key).hexdigest()[:16]


def seal(header: Header, content: bytes, key: bytes) -> bytes:
    """A whole file."""
    text = header.model_dump_json().encode()
    if len(text) > MAX_HEADER_BYTES:
        raise StorageError(f"the header of the evidence of {header.alert_id} is longer than 16 KiB")
    clear = _PREFIX.pack(MAGIC, VERSION, len(text)) + text + os.urandom(NONCE_BYTES)
    return clear + AESGCM(key).encrypt(clear[-NONCE_BYTES:], content, clear)


def read_header(start: bytes) -> Header:
    """The header, from the first ``MAX_HEADER_BYTES`` and more of a file; not yet proved genuine.

    Raises:
        StorageError: it is no evidence, is of another version, or is damaged.
    """
    return _split(start)[0]


def unseal(file: bytes, key: bytes) -> tuple[Header, bytes]:
    """Header and content, both proved to be as they were written.

    Raises:
        StorageError: another key is needed, or the file was changed or cut off.
    """
    header, size = _split(file)
    if header.key != key_id(key):
        raise StorageError(f"another key encrypted it (its id is {header.key}, this one's {key_id(key)})")
    clear, sealed = file[:size], file[size:]
    try:
        return header, AESGCM(key).decrypt(clear[-NONCE_BYTES:], sealed, clear)
    except (InvalidTag, ValueError):
        raise StorageError("it was changed or cut off since it was written") from None


def _split(file: bytes) -> tuple[Header, int]:
    """The header, and where the ciphertext begins."""
    if len(file) < _PREFIX.size or file[: len(MAGIC)] != MAGIC:
        raise StorageError("it is no evidence, or damaged")
    _, version, length = _PREFIX.unpack_from(file)
    if version != VERSION:
        raise StorageError(f"it is of format version {version}, and this FAC Stream reads {VERSION}")
    end = _PREFIX.size + length
    if length > MAX_HEADER_BYTES or len(file) < end + NONCE_BYTES:
        raise StorageError("it is damaged or cut off")
    try:
        header = Header.model_validate_json(file[_PREFIX.size : end])
    except ValidationError:
        raise StorageError("its header is damaged") from None
    return header, end + NONCE_BYTES
