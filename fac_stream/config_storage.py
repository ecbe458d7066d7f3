"""The part of the configuration that says what is kept of calls."""

from typing import Annotated

from pydantic import Field

from fac_stream.config_section import Section


class History(Section):
    """Ended calls that ``/api/calls`` still shows; kept in memory only."""

    max_calls: Annotated[int, Field(ge=0, le=100_000)] = 200
    max_points: Annotated[int, Field(ge=10, le=100_000)] = 1200
