"""What all parts of the configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Part of the tree; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
