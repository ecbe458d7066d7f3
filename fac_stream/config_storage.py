"""The part of the configuration that says what is kept of calls."""

import base64
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from fac_stream.config_section import Section


class History(Section):
    """What is written down of calls, how, and for how long; and the ended calls that memory holds."""

    database: Path | Literal["auto"] | None = "auto"
    audit: Path | Literal["auto"] | None = "auto"
    keep_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    numbers: Literal["hashed", "plain"] = "hashed"
    metadata: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)] = []
    max_calls: Annotated[int, Field(ge=0, le=100_000)] = 200
    max_points: Annotated[int, Field(ge=10, le=100_000)] = 1200

    @field_validator("database", "audit")
    @classmethod
    def _home_is_found(cls, file: Path | str | None) -> Path | str | None:
        try:
            return file.expanduser() if isinstance(file, Path) else file
        except RuntimeError:
            raise ValueError("~ leads nowhere: this user has no home") from None


KEY_BYTES = 32


class Evidence(Section):
    """For what, how and how long the audio around an alert is kept; without a purpose none is."""

    purpose: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")] | None = None
    keep_days: Annotated[float, Field(gt=0, le=3650)] = 14.0
    seconds: Annotated[float, Field(ge=4, le=60)] = 8.0
    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    key_file: Path | None = None
    key: SecretStr | None = None

    @field_validator("key_file")
    @classmethod
    def _home_is_found(cls, file: Path | None) -> Path | None:
        try:
            return file.expanduser() if file else None
        except RuntimeError:
            raise ValueError("~ leads nowhere: this user has no home") from None

    @field_validator("key")
    @classmethod
    def _key_is_one(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            evidence_key(key.get_secret_value())
        return key

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key is not None and self.key_file is not None:
            raise ValueError("a key and a key_file: there can be only one")
        if self.purpose is not None and self.key is None and self.key_file is None:
            raise ValueError(
                "a purpose needs a key: set key_file, or FAC_EVIDENCE__KEY; make one with: fac evidence key"
            )
        return self


def evidence_key(text: str) -> bytes:
    """The bytes of a key that is written as base64.

    Raises:
        ValueError: it is not 32 bytes.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("a key is the base64 of 32 bytes; make one with: fac evidence key")
    return key
