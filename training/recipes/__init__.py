"""The recipes that come with the package, and how any recipe is read."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stream_app.core.errors import ConfigError
from training.recipe import Recipe

_SHIPPED = files("training") / "recipes"


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    found = (file.name for file in _SHIPPED.iterdir() if file.name.endswith(".toml"))
    return sorted(name.removesuffix(".toml") for name in found)


def load_recipe(name: str) -> Recipe:
    """The shipped recipe called `name`, or the one in the file `name`. Raises ConfigError."""
    try:
        recipe = Recipe.model_validate(_whole(name))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"recipe {name}: {where}: {first['msg']}") from None
    if not recipe.sources:
        raise ConfigError(f"recipe {name}: sources: name one at least")
    return recipe


def _whole(name: str, extended: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe's keys, with those of the one it `extends`, but for what it is `without`."""
    if name in extended:
        raise ConfigError(f"recipe {name} extends itself")
    read = _read(name)
    base = read.pop("extends", None)
    if base is None:
        return read
    without = read.pop("without", [])
    keys = {
        key: value for key, value in _whole(base, (*extended, name)).items() if key not in without
    }
    for key, value in read.items():
        keys[key] = {**keys.get(key, {}), **value} if isinstance(value, dict) else value
    return keys


def _read(name: str) -> dict[str, Any]:
    if name in shipped():
        text = (_SHIPPED / f"{name}.toml").read_text()
    elif Path(name).is_file():
        text = Path(name).read_text()
    else:
        raise ConfigError(
            f"recipe {name!r} is neither a file nor shipped; there are: {', '.join(shipped())}"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name} is not TOML: {error}") from None
