"""What every part of the configuration file has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
