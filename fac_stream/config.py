"""The configuration: one typed tree, read from YAML and ``FAC_*`` environment variables.

``FAC_SERVER__PORT=9000`` sets ``server.port``: a double underscore goes one level down, the value is read as
YAML. The environment wins over the file. Unknown keys and bad values are refused, each with path and line.
"""

import base64
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from fac_stream.errors import ConfigError

ENV_PREFIX = "FAC_"

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
LegName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Section(BaseModel):
    """Part of the tree; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


SourceConfig = Annotated[MicrophoneSource | FileSource, Field(discriminator="type")]


class Ingest(Section):
    """Limits of every call that comes in over the network."""

    max_calls: Annotated[int, Field(ge=1, le=10_000)] = 100
    idle_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_duration_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 4 * 3600.0
    max_message_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 1024 * 1024
    queue_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class Windows(Section):
    """How often a 2-second window is cut."""

    hop_s: Annotated[float, Field(ge=0.1, le=2.0)] = 0.5


class Speech(Section):
    """What counts as a window with speech; the others get no score."""

    min_s: Annotated[float, Field(ge=0.0, le=2.0)] = 0.5
    threshold: Probability = 0.5
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
    """From scores to a decision, per leg."""

    raise_at: Probability = 0.9
    suspect_at: Probability = 0.7
    clear_at: Probability = 0.5
    half_life_s: Annotated[float, Field(gt=0, le=600)] = 3.0
    min_speech_s: Annotated[float, Field(ge=0, le=600)] = 2.5
    forget_after_s: Annotated[float, Field(gt=0, le=3600)] = 10.0

    @model_validator(mode="after")
    def _thresholds_are_ordered(self) -> Self:
        if not self.clear_at <= self.suspect_at <= self.raise_at:
            raise ValueError("thresholds must satisfy clear_at <= suspect_at <= raise_at")
        return self


class Webhook(Section):
    """One receiver of signed alert posts (Standard Webhooks 1.0.0)."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2048)]
    secret: SecretStr
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 15.0
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    first_retry_s: Annotated[float, Field(gt=0, le=3600)] = 5.0

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
    """Who is told when a decision turns synthetic."""

    webhooks: list[Webhook] = []


class History(Section):
    """Ended calls that ``/api/calls`` still shows; kept in memory only."""

    max_calls: Annotated[int, Field(ge=0, le=100_000)] = 200
    max_points: Annotated[int, Field(ge=10, le=100_000)] = 1200


class Logging(Section):
    """What the daemon writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Config(Section):
    """The whole tree; every key has a default."""

    server: Server = Server()
    sources: list[SourceConfig] = []
    ingest: Ingest = Ingest()
    windows: Windows = Windows()
    speech: Speech = Speech()
    model: Model = Model()
    batching: Batching = Batching()
    decision: DecisionRule = DecisionRule()
    alerts: Alerts = Alerts()
    history: History = History()
    logging: Logging = Logging()


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
    """Read a configuration.

    Args:
        path: YAML file; None for the defaults alone.
        environ: where ``FAC_*`` is looked up; the process environment unless given.
        overrides: dotted paths with double underscores, as the command line sets them (``server__port=0``).

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is bad; names every fault.
    """
    text = _read(path) if path else ""
    name = str(path) if path else "configuration"
    node = _compose(text, name)
    tree = yaml.safe_load(text) if node else {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}:1: the top level must be a mapping of sections")
    origins: dict[tuple[str, ...], str] = {}
    for variable, value in sorted((os.environ if environ is None else environ).items()):
        if variable.startswith(ENV_PREFIX):
            keys = tuple(variable.removeprefix(ENV_PREFIX).lower().split("__"))
            _put(tree, keys, _env_value(variable, value), variable)
            origins[keys] = variable
    for dotted, value in overrides.items():
        if value is not None:
            _put(tree, tuple(dotted.split("__")), value, "command line")
            origins[tuple(dotted.split("__"))] = "command line"
    try:
        return Config.model_validate({key: value for key, value in tree.items() if value is not None})
    except ValidationError as error:
        lines = [_explain(fault, node, name, origins) for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    if isinstance(node, yaml.Node):
        _refuse_duplicates(node, name)
        return node
    return None


def _refuse_duplicates(node: yaml.Node, name: str) -> None:
    """YAML lets a later key silently win over an earlier one; in a configuration that is a mistake."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: {key.value!r} stands here a second time"
                )
            seen.add(key.value)
            _refuse_duplicates(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, name)


def _env_value(variable: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"{variable}: its value is not valid YAML: quote it") from None


def _put(tree: dict[str, Any], keys: tuple[str, ...], value: Any, origin: str) -> None:
    for key in keys[:-1]:
        child = tree.get(key)
        if child is None:
            child = tree[key] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{origin}: {key!r} is not a section; lists are set whole, as YAML")
        tree = child
    tree[keys[-1]] = value


def _explain(fault: Any, node: yaml.Node | None, name: str, origins: Mapping[tuple[str, ...], str]) -> str:
    location = fault["loc"]
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
    path = ".".join(str(part) for part in _without_tags(location)) or "(top level)"
    origin = next(
        (origins[tuple(location[:n])] for n in range(len(location), 0, -1) if location[:n] in origins), None
    )
    return f"{origin or f'{name}:{_line_of(node, location)}'}: {path}: {message}"


def _without_tags(location: tuple[Any, ...]) -> list[Any]:
    """Drop the discriminator that pydantic puts after a list index (``sources.0.microphone.device``)."""
    return (
        [part for i, part in enumerate(location) if not (i and isinstance(location[i - 1], int) and i > 1)]
        if location[:1] == ("sources",)
        else list(location)
    )


def _line_of(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    """The deepest line of the file that still lies on the way to ``location``."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == part), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
