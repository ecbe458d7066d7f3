"""The part of the configuration that says what an alert is, and who is told."""

import base64
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from fac_stream.config_section import Section


class Webhook(Section):
    """One receiver of signed alert posts (Standard Webhooks 1.0.0)."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2048)]
    secret: SecretStr
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    first_retry_s: Annotated[float, Field(gt=0, le=3600)] = 5.0

    @field_validator("url")
    @classmethod
    def _url_has_a_host(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("a webhook url looks like https://host/path, and its host must be one")
        return url

    @field_validator("secret")
    @classmethod
    def _secret_is_usable(cls, secret: SecretStr) -> SecretStr:
        _webhook_key(secret)
        return secret

    @property
    def key(self) -> bytes:
        """The HMAC key that the secret encodes."""
        return _webhook_key(self.secret)


def _webhook_key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError(
            'a webhook secret is "whsec_" and the base64 of 24 to 64 bytes; '
            'make one with: echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


class Alerts(Section):
    """Who is told when a decision turns synthetic, and where that is written down until they know."""

    database: Path | Literal["auto"] | None = "auto"
    webhooks: list[Webhook] = []

    @field_validator("database")
    @classmethod
    def _home_is_found(cls, database: Path | str | None) -> Path | str | None:
        try:
            return database.expanduser() if isinstance(database, Path) else database
        except RuntimeError:
            raise ValueError("~ leads nowhere: this user has no home") from None

    @field_validator("webhooks")
    @classmethod
    def _webhooks_differ(cls, webhooks: list[Webhook]) -> list[Webhook]:
        if len({hook.url for hook in webhooks}) < len(webhooks):
            raise ValueError("the same url stands here twice: each receiver is told once")
        return webhooks
