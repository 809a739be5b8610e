"""The base of all figures. What does not live here: the figures (`status`, `cost`)."""

from pydantic import BaseModel, ConfigDict


class Shown(BaseModel):
    """Made once, of known fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
