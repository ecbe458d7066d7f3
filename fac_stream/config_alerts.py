"""The part of the configuration that says what an alert is, and who is told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fac_stream.config_hooks import Apprise, Command, Hook, PagerDuty, Webhook
from fac_stream.config_section import Section
from fac_stream.events import Severity

HEALTH_RULES = ("source-dead", "model-self-test", "scorer-late", "disk-full", "storage")
"""Names of the alerts that the daemon raises about itself."""
MAX_HOOKS = 32


SourceKind = Literal[
    "microphone",
    "file",
    "url",
    "stdin",
    "websocket",
    "twilio",
    "vonage",
    "jambonz",
    "asterisk",
    "freeswitch",
    "audiohook",
    "audiosocket",
    "tcp",
    "rtp",
    "siprec",
    "whip",
]
"""What ``call.started`` names as the source; a rule for a source that does not exist would never fire."""
LegPattern = Annotated[str, Field(pattern=r"^[a-z0-9*][a-z0-9_*-]{0,31}$")]
"""A leg's name; ``*`` stands for any letters."""
Pattern = Annotated[str, Field(min_length=1, max_length=256)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=128)]


class AlertRule(Section):
    """When a voice is worth an alert, and how many."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] = "synthetic-voice"
    severity: Severity = "critical"
    states: Annotated[list[Literal["synthetic", "suspicious"]], Field(min_length=1)] = ["synthetic"]
    legs: list[LegPattern] = []
    sources: list[SourceKind] = []
    min_speech_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    cooldown_s: Annotated[float, Field(ge=0, le=7 * 86400)] = 0.0
    group: Annotated[str, Field(pattern=r"^(leg|call|metadata\.[^\s]{1,128})$")] = "leg"

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in HEALTH_RULES:
            raise ValueError(f"{name} is the name of a health alert: choose another")
        return name


class AllowedVoice(Section):
    """A voice that is synthetic and may be; all that is said of it has to fit."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    leg: LegPattern | None = None
    number: Pattern | None = None
    metadata: Annotated[dict[MetadataKey, Pattern], Field(max_length=16)] = {}

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if self.leg is None and self.number is None and not self.metadata:
            raise ValueError("say whose voice it is: leg, number or metadata")
        if self.number is not None and sum(character.isalnum() for character in self.number) < 3:
            raise ValueError("a number has at least three digits or letters beside *")
        return self


class HealthAlerts(Section):
    """When the daemon tells of itself."""

    severity: Severity = "warning"
    look_every_s: Annotated[float, Field(ge=0.5, le=3600)] = 5.0
    after_s: Annotated[float, Field(ge=0, le=3600)] = 15.0
    late_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_free_mb: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    self_test_every_s: Annotated[float, Field(ge=10, le=30 * 86400)] = 3600.0


class Alerts(Section):
    """What is worth telling, who is told, and where that is written down until they know."""

    rules: Annotated[list[AlertRule], Field(max_length=100)] = [AlertRule()]
    allow: Annotated[list[AllowedVoice], Field(max_length=1000)] = []
    health: HealthAlerts = HealthAlerts()
    database: Path | Literal["auto"] | None = "auto"
    webhooks: Annotated[list[Webhook], Field(max_length=MAX_HOOKS)] = []
    apprise: Annotated[list[Apprise], Field(max_length=MAX_HOOKS)] = []
    pagerduty: Annotated[list[PagerDuty], Field(max_length=MAX_HOOKS)] = []
    commands: Annotated[list[Command], Field(max_length=MAX_HOOKS)] = []

    @property
    def hooks(self) -> list[Hook]:
        """All receivers of alerts."""
        return [*self.webhooks, *self.apprise, *self.pagerduty, *self.commands]

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

    @model_validator(mode="after")
    def _hooks_differ(self) -> Self:
        names = [hook.name for hook in self.hooks if hook.name]
        if len(set(names)) < len(names):
            raise ValueError("two hooks have the same name: fac alerts and the log tell them apart by it")
        return self

    @field_validator("rules")
    @classmethod
    def _rules_differ(cls, rules: list[AlertRule]) -> list[AlertRule]:
        if len({rule.name for rule in rules}) < len(rules):
            raise ValueError("two rules have the same name: whoever reads an alert must know which one fired")
        return rules
