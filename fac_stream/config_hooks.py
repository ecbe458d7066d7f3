"""The part of the configuration that says who is told of alerts, and how."""

import base64
import ipaddress
from string import Template
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from fac_stream.config_section import Section
from fac_stream.events import Category, Severity

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
FIELDS = (
    "alert_id",
    "at_s",
    "call_id",
    "category",
    "leg",
    "model",
    "reason",
    "rule",
    "severity",
    "smoothed",
    "speech_s",
    "state",
    "summary",
    "time",
)
"""What a template may name: fields of the alert's event, and ``state``: raised or resolved."""


def _networks(value: Any) -> Any:
    """``true`` and ``false`` are short for all networks and none."""
    if isinstance(value, bool):
        return EVERYWHERE if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError("this is true, false or a list of networks: [10.0.0.0/8]")  # noqa: TRY004 - pydantic's
    return tuple(ipaddress.ip_network(it) for it in value)


def _listed(value: Any) -> Any:
    """One secret is a list of one."""
    return [value] if isinstance(value, str | SecretStr) else value


def _is_template(text: str) -> str:
    template = Template(text)
    unknown = sorted(set(template.get_identifiers()) - set(FIELDS)) if template.is_valid() else ["$"]
    if unknown:
        raise ValueError(
            f"a message may name ${', $'.join(FIELDS)}, and writes $$ for a dollar; not {', '.join(unknown)}"
        )
    return text


def _is_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("a webhook url looks like https://host/path, and its host must be one")
    return url


HookName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MessageTemplate = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_is_template)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2048), AfterValidator(_is_url)]
Allowed = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
"""Networks beside the public ones in which a receiver may be."""


class SigningKey(NamedTuple):
    """One key of Standard Webhooks 1.0.0."""

    scheme: Literal["v1", "v1a"]
    key: bytes
    """``v1``: 24 to 64 bytes of HMAC key. ``v1a``: the 32 bytes of an Ed25519 seed."""


class Hook(Section):
    """One receiver of alerts: which of them, and how often each is tried."""

    name: HookName | None = None
    categories: Annotated[list[Category], Field(min_length=1)] = ["fraud", "health"]
    min_severity: Severity = "info"
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 20
    first_retry_s: Annotated[float, Field(gt=0, le=3600)] = 5.0

    @property
    def kind(self) -> str:
        """The word for people."""
        return type(self).__name__.lower()

    @property
    def label(self) -> str:
        """Who it is, for people; nothing secret."""
        return self.name or self.kind

    @property
    def identity(self) -> str:
        """What makes it the same receiver after a restart."""
        return f"{self.kind}:{self.name}"

    @property
    def keys(self) -> list[SigningKey]:
        """What its messages are signed with, the newest first."""
        return []


class Webhook(Hook):
    """One receiver of signed alert posts (Standard Webhooks 1.0.0)."""

    url: Url
    secret: Annotated[list[SecretStr], Field(min_length=1, max_length=8), BeforeValidator(_listed)]
    allow_private: Allowed = ()

    @field_validator("secret")
    @classmethod
    def _secrets_are_usable(cls, secrets: list[SecretStr]) -> list[SecretStr]:
        for secret in secrets:
            _signing_key(secret)
        return secrets

    @property
    def label(self) -> str:
        """Its name, or the host: the path of a webhook is often its password."""
        return self.name or urlsplit(self.url).hostname or ""

    @property
    def identity(self) -> str:
        """Its URL: with another secret it is the same receiver."""
        return self.url

    @property
    def keys(self) -> list[SigningKey]:
        """The keys that the secrets encode."""
        return [_signing_key(secret) for secret in self.secret]


class Apprise(Hook):
    """Chat, mail, pagers: whatever the library of this name has a URL for."""

    name: HookName
    url: Annotated[SecretStr, Field(min_length=4, max_length=2048)]
    message: MessageTemplate = "$summary"


class PagerDuty(Hook):
    """A service of PagerDuty, by its Events API v2."""

    name: HookName
    routing_key: SecretStr
    url: Url = "https://events.pagerduty.com/v2/enqueue"
    message: MessageTemplate = "$summary"
    allow_private: Allowed = ()

    @field_validator("routing_key")
    @classmethod
    def _key_is_one(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if not (len(text) == 32 and text.isascii() and text.isalnum()):
            raise ValueError(
                "a routing key is the Integration Key of an Events API v2 integration: 32 letters or digits"
            )
        return key


class Command(Hook):
    """A program of this machine that gets each alert on standard input."""

    name: HookName
    command: Annotated[
        list[Annotated[str, Field(pattern=r"^[^\x00]*$")]], Field(min_length=1, max_length=100)
    ]
    message: MessageTemplate = "$summary"

    @field_validator("command")
    @classmethod
    def _program_has_a_path(cls, command: list[str]) -> list[str]:
        if not command[0].startswith("/"):
            raise ValueError(
                "a command begins with the whole path of a program: [/usr/local/bin/page, --now]"
            )
        return command


def _signing_key(secret: SecretStr) -> SigningKey:
    prefix, _, text = secret.get_secret_value().partition("_")
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if prefix == "whsec" and 24 <= len(key) <= 64:
        return SigningKey(scheme="v1", key=key)
    if prefix == "whsk" and len(key) in (32, 64):  # the seed alone, or followed by the public key
        return SigningKey(scheme="v1a", key=key[:32])
    raise ValueError(
        'a webhook secret is "whsec_" and the base64 of 24 to 64 bytes; '
        'make one with: echo "whsec_$(openssl rand -base64 32)"; '
        'or "whsk_" and the base64 of an Ed25519 key, see docs/webhooks.md'
    )
