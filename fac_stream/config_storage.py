"""The part of the configuration that says what is kept of calls."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

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
