"""A recipe: all that decides what a model becomes, so that one command can make it again."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_app.core.errors import ConfigError
from stream_app.model.artifact import Truncation
from stream_app.model.preparation import Preparation

SHIPPED = ("news", "reviews", "spam")


class Source(BaseModel):
    """One data file and what it is for.

    `split` is divided in train, validation and test, and `develop` in train and validation, both by
    the hash of each message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="relative to the data folder: .jsonl.gz or .tar.gz of mail")
    use: Literal["train", "validation", "test", "split", "develop"]
    terms: str = Field(description="the terms its corpus comes under, for the model card")
    rows: int | None = Field(None, gt=0, description="take this many; the smallest hashes win")


class Encoder(BaseModel):
    """The encoder a recipe was made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(description="of its model.safetensors")
    origin: str = Field(description="where it comes from and under which terms, for the card")


class Hyper(BaseModel):
    """Hyper-parameters of AdamW with a linear decay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    seed: int = 1


class Recipe(BaseModel):
    """What `winnow-train fit` needs besides an encoder and a data folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    description: str
    labels: tuple[str, ...] = Field(min_length=2)
    max_tokens: int = Field(ge=2, le=512)
    truncation: Truncation = "head"
    preparation: Preparation = Preparation()
    encoder: Encoder | None = None
    hyper: Hyper
    sources: tuple[Source, ...] = Field(min_length=1)


def load_recipe(name: str) -> Recipe:
    """The shipped recipe called `name`, or the one in the file `name`. Raises ConfigError."""
    if name in SHIPPED:
        text = (files("training") / "recipes" / f"{name}.toml").read_text()
    elif Path(name).is_file():
        text = Path(name).read_text()
    else:
        raise ConfigError(
            f"recipe {name!r} is neither a file nor shipped; there are: {', '.join(SHIPPED)}"
        )
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"recipe {name}: {where}: {first['msg']}") from None
