"""Reading the configuration: the file, then the environment, and a message for each mistake.

`WINNOW_KAFKA__GROUP_ID=blue` overrides `[kafka] group_id`; `WINNOW_ROUTES__MAIL__MODEL=…` overrides
`model` of the route named `mail` (a `-` in a route's name is written `_`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from stream_app.core.errors import ConfigError
from stream_app.core.settings.explain import allowed, explain, problem, wrong
from stream_app.core.settings.kafka import KafkaSettings
from stream_app.core.settings.route import RouteSettings
from stream_app.core.settings.sections import RegistrySettings, Section
from stream_app.core.settings.settings import PREFIX, Connections, Settings

Loaded = TypeVar("Loaded", bound=Connections)
Part = TypeVar("Part", bound=Section)


def read_settings(
    file: Path | None, formats: Collection[str], backends: Collection[str]
) -> Settings:
    """Read `file` and the environment. Raises ConfigError: the key, its value, what is allowed.

    `formats` and `backends` are the valid names: this layer knows no codec and no engine.
    """
    settings = _load(Settings, file)
    named = [(f"routes[{route.name}].format", route.format, formats) for route in settings.routes]
    named.append(("engine.backend", settings.engine.backend, backends))
    lines = [
        problem(key, repr(name), allowed(names)) for key, name, names in named if name not in names
    ]
    if lines:
        raise ConfigError(wrong(file, lines))
    return settings


def load_kafka(file: Path | None) -> KafkaSettings:
    """`[kafka]` of `file`, if any, and the environment. Raises ConfigError."""
    return _load(Connections, file).kafka


def load_registry(file: Path | None) -> RegistrySettings:
    """`[registry]` of `file`, if any, and the environment. Raises ConfigError."""
    return _load(Connections, file).registry


def from_options(kind: type[Part], **values: Any) -> Part:
    """A section, of a command's options by the same names. Raises ConfigError naming the option."""
    try:
        return kind(**values)
    except ValidationError as error:
        found = error.errors()[0]
        name = f"--{str(found['loc'][0]).replace('_', '-')}"
        raise ConfigError(problem(name, repr(found["input"]), found["msg"])) from None


def _load(kind: type[Loaded], file: Path | None) -> Loaded:
    data = _read(file) if file else {}
    try:
        return kind(**data)
    except ValidationError as error:
        raise ConfigError(wrong(file, explain(data, error, _keys))) from None
    except SettingsError as error:  # its own text may hold the value
        variable = f"{PREFIX}<SECTION>__<KEY>"
        raise ConfigError(f"environment: a variable is not JSON; write {variable}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {file} is not TOML: {error}") from None
    if "routes" in data:
        data["routes"] = _by_name(file, data["routes"])
    return data


def _by_name(file: Path, routes: Any) -> dict[str, Any]:
    if not isinstance(routes, list) or not all(isinstance(route, dict) for route in routes):
        raise ConfigError(f"{file}: routes must be tables, written [[routes]]")
    named: dict[str, Any] = {}
    for number, route in enumerate(routes, 1):
        if "name" not in route:
            raise ConfigError(f"{file}: route number {number} has no name")
        key = str(route["name"]).lower().replace("-", "_")
        if key in named:
            raise ConfigError(f"{file}: two routes are named {route['name']!r}")
        named[key] = route
    return named


def _keys(section: list[str]) -> list[str]:
    """The keys allowed in a section, given its path."""
    if not section:
        return list(Settings.model_fields)
    if section[0].startswith("routes["):
        return list(RouteSettings.model_fields)
    kind = Settings.model_fields[section[0]].annotation
    return list(getattr(kind, "model_fields", []))
