"""The configuration: one typed tree; every key has a default.

``config.yaml`` is the reference, with a comment on each key; ``config_file.py`` reads one. Unknown keys are
refused everywhere.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from fac_stream.config_alerts import Alerts
from fac_stream.config_section import Section
from fac_stream.config_storage import Evidence, History
from fac_stream.config_systems import (
    LegName,
    Listeners,
    Platforms,
    StdinSource,
    UrlSource,
)

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


class Tls(Section):
    """Certificate and key, PEM files."""

    certificate: Path
    key: Path


class Server(Section):
    """Where the daemon listens, and who may talk to it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    token: SecretStr | None = None
    tls: Tls | None = None
    expose_without_protection: bool = False
    allowed_origins: list[str] = []
    allowed_hosts: list[str] = []
    max_upload_mb: Annotated[int, Field(ge=1, le=4096)] = 512
    max_subscribers: Annotated[int, Field(ge=1, le=10_000)] = 256
    subscriber_queue: Annotated[int, Field(ge=16, le=100_000)] = 1024

    @field_validator("token")
    @classmethod
    def _token_is_long(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < 16:
            raise ValueError("a token needs at least 16 characters; make one with: openssl rand -base64 24")
        return token

    @field_validator("allowed_origins")
    @classmethod
    def _origins_have_a_scheme(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
                raise ValueError(f"{origin!r} is no origin; one looks like https://desk.example.org")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not re.fullmatch(r"([A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?)(:[0-9]{1,5})?", host):
                raise ValueError(f"{host!r} is no host name; one looks like desk.example.org")
        return hosts

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _public_needs_protection(self) -> Self:
        if not self.is_loopback and not self.expose_without_protection and not (self.token and self.tls):
            raise ValueError(
                f"host {self.host!r} can be reached from other machines: set server.token and server.tls, "
                "or say server.expose_without_protection: true if something in front protects it"
            )
        return self


class MicrophoneSource(Section):
    """A sound device of this machine: a microphone, or the monitor of what its speakers play."""

    type: Literal["microphone"]
    device: str | None = None
    leg: LegName = "mixed"
    call_id: str | None = None


class FileSource(Section):
    """A recording, played into the daemon as if it were a call."""

    type: Literal["file"]
    path: Path
    pace: Literal["realtime", "fast"] = "realtime"
    repeat: bool = False
    legs: list[LegName] | None = None
    call_id: str | None = None


SourceConfig = Annotated[MicrophoneSource | FileSource | UrlSource | StdinSource, Field(discriminator="type")]


class Ingest(Section):
    """Limits of every call that comes in over the network."""

    max_calls: Annotated[int, Field(ge=1, le=10_000)] = 100
    idle_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_duration_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 4 * 3600.0
    max_message_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 1024 * 1024
    queue_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    reconnect_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    no_media_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    max_concealed: Annotated[float, Field(ge=0, le=1)] = 0.2


class Windows(Section):
    """How often a 2-second window is cut."""

    hop_s: Annotated[float, Field(ge=0.1, le=2.0)] = 0.5


class Speech(Section):
    """What counts as a window with speech; the others get no score."""

    min_s: Annotated[float, Field(ge=0.0, le=2.0)] = 0.5
    threshold: Probability = 0.5
    network_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    min_level_dbfs: Annotated[float, Field(ge=-120.0, le=0.0)] = -60.0


class Model(Section):
    """Which bundle scores, and on what."""

    bundle: Path | None = None
    backend: Literal["auto", "onnx", "torch"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1


class Batching(Section):
    """How windows of all calls are scored together."""

    max_windows: Annotated[int, Field(ge=1, le=4096)] = 64
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 10.0
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 1024
    max_age_s: Annotated[float, Field(gt=0, le=60)] = 2.0


class DecisionRule(Section):
    """From scores to a decision, per leg: how often it may be wrong."""

    false_alarms_per_100h: Annotated[float, Field(ge=0.1, le=100_000)] = 10.0
    miss_rate: Annotated[float, Field(ge=0.001, le=0.5)] = 0.1
    raise_at: Annotated[float, Field(ge=0, le=1000)] | None = None
    forget_after_s: Annotated[float, Field(gt=0, le=3600)] = 10.0


class Logging(Section):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Config(Section):
    """The whole tree; every key has a default."""

    server: Server = Server()
    sources: list[SourceConfig] = []
    ingest: Ingest = Ingest()
    listeners: Listeners = Listeners()
    platforms: Platforms = Platforms()
    windows: Windows = Windows()
    speech: Speech = Speech()
    model: Model = Model()
    batching: Batching = Batching()
    decision: DecisionRule = DecisionRule()
    alerts: Alerts = Alerts()
    history: History = History()
    evidence: Evidence = Evidence()
    logging: Logging = Logging()
