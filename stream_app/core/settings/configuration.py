"""The configuration: one TOML file, every key also from the environment, wrong values refused.

`WINNOW_KAFKA__GROUP_ID=blue` overrides `[kafka] group_id`; `WINNOW_ROUTES__MAIL__MODEL=…` overrides
`model` of the route named `mail` (a `-` in a route's name is written `_`).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from stream_app.core.errors import ConfigError
from stream_app.core.settings.drift import DriftSettings
from stream_app.core.settings.explain import explain
from stream_app.core.settings.feedback import FeedbackSettings
from stream_app.core.settings.kafka import KafkaClientSettings
from stream_app.core.settings.registry import RegistrySettings
from stream_app.core.settings.route import RouteSettings
from stream_app.core.settings.section import Section

PREFIX = "WINNOW_"
CONFIG_VARIABLE = "WINNOW_CONFIG"  # names the file itself, so it is not a key of it


class KafkaSettings(KafkaClientSettings):
    """`[kafka]`: where the broker is, how to get in, and how the consumer group behaves."""

    group_id: str = Field("winnow", min_length=1)
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    # a dead worker's partitions move after this long; 60 s, Faust's default, is too long for mail
    session_timeout_seconds: float = Field(10.0, ge=1, le=300)
    heartbeat_interval_seconds: float = Field(2.0, gt=0)
    commit_interval_seconds: float = Field(0.5, gt=0)

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> KafkaSettings:
        if self.heartbeat_interval_seconds * 3 > self.session_timeout_seconds:
            raise ValueError(
                "heartbeat_interval_seconds must be at most a third of session_timeout_seconds"
            )
        return self


class TopicSettings(Section):
    """`[topics]`: what `winnow topics create` makes."""

    partitions: int = Field(4, ge=1)
    replication_factor: int = Field(1, ge=1)


class MetricsSettings(Section):
    """`[metrics]`: where /metrics, /healthz and /readyz are served."""

    host: str = "127.0.0.1"
    port: int = Field(9108, ge=0, le=65535)  # 0 picks a free one


class EngineSettings(Section):
    """`[engine]`: how models run."""

    backend: Literal["auto", "compiled", "packed", "reference", "fake"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int = Field(0, ge=0)  # of one process; 0 takes every core
    early_exit: bool = False  # a text goes through as few layers as its label needs


class _Environment(EnvSettingsSource):
    """The environment, with a variable that names no key refused instead of ignored."""

    def __call__(self) -> dict[str, Any]:
        known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
        for variable in os.environ:
            section = variable.split("__")[0].upper()
            if section.startswith(PREFIX) and section not in known | {CONFIG_VARIABLE}:
                allowed = ", ".join(sorted(f"{name}__…" for name in known))
                raise ConfigError(f"environment: {variable} is not a setting; there are {allowed}")
        return super().__call__()


class Connections(BaseSettings):
    """What to connect to, of a whole configuration or of none: what a command needs that is told
    its topic or its model by an option."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore", frozen=True
    )

    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; nothing else is read."""
        return (_Environment(settings_cls), init_settings)


class Settings(Connections):
    """The whole configuration."""

    model_config = SettingsConfigDict(extra="forbid")

    topics: TopicSettings = TopicSettings()
    metrics: MetricsSettings = MetricsSettings()
    engine: EngineSettings = EngineSettings()
    drift: DriftSettings = DriftSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    routes: tuple[RouteSettings, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _routes_as_list(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Sources hold routes by name, so that one key of one route can be overridden."""
        if isinstance(data.get("routes"), dict):
            return {**data, "routes": list(data["routes"].values())}
        return data

    @model_validator(mode="after")
    def _routes_apart(self) -> Settings:
        outputs = {topic for route in self.routes for topic in route.written_topics}
        inputs = [route.input_topic for route in self.routes]
        for route in self.routes:
            if inputs.count(route.input_topic) > 1:
                raise ValueError(f"two routes read input_topic {route.input_topic!r}")
            if route.input_topic in outputs:
                raise ValueError(
                    f"route {route.name!r} reads {route.input_topic!r}, which a route writes: "
                    "that is a loop"
                )
        return self

    def route(self, name: str) -> RouteSettings:
        """The route called `name`. Raises ConfigError where there is none."""
        for route in self.routes:
            if route.name == name:
                return route
        names = ", ".join(route.name for route in self.routes)
        raise ConfigError(f"--route {name}: there is no such route; there are: {names}")


Loaded = TypeVar("Loaded", bound=Connections)


def load_settings(file: Path | None) -> Settings:
    """Read `file` and the environment. Raises ConfigError: the key, its value, what is allowed."""
    return _load(Settings, file)


def load_kafka(file: Path | None) -> KafkaSettings:
    """`[kafka]` of `file`, if any, and the environment. Raises ConfigError."""
    return _load(Connections, file).kafka


def load_registry(file: Path | None) -> RegistrySettings:
    """`[registry]` of `file`, if any, and the environment. Raises ConfigError."""
    return _load(Connections, file).registry


def _load(kind: type[Loaded], file: Path | None) -> Loaded:
    data = _read(file) if file else {}
    try:
        return kind(**data)
    except ValidationError as error:
        raise ConfigError(explain(file, data, error, _keys)) from None
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
