"""The key that evidence is encrypted with: 32 bytes, from a file or from the environment."""

import base64
import os
import stat

from fac_stream.config_storage import KEY_BYTES, Evidence, evidence_key
from fac_stream.errors import ConfigError

MAX_FILE_BYTES = 1024


def read_key(settings: Evidence) -> bytes:
    """The key that the configuration names.

    Raises:
        ConfigError: there is none, its file cannot be read or can be read by others, or it is no key.
    """
    if settings.key is not None:
        return evidence_key(settings.key.get_secret_value())
    if settings.key_file is None:
        raise ConfigError(
            "no key of evidence: set evidence.key_file, or FAC_EVIDENCE__KEY in the environment"
        )
    try:
        file = os.open(settings.key_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(file)
            text = os.read(file, MAX_FILE_BYTES) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigError(f"{settings.key_file}: the key cannot be read: {error.strerror}") from None
    if found.st_mode & 0o077:
        raise ConfigError(
            f"{settings.key_file}: others can read this key: chmod 600 {settings.key_file}, "
            "and make a new one if they may have"
        )
    try:
        return evidence_key(text.decode("ascii", "replace").strip())
    except ValueError as error:
        raise ConfigError(f"{settings.key_file}: {error}") from None


def new_key() -> tuple[str, bytes]:
    """A fresh key: as it stands in a file, and its bytes."""
    key = os.urandom(KEY_BYTES)
    return base64.b64encode(key).decode(), key
