"""The whole configuration, and the part of it that a command needs without a file."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from stream_app.core.errors import ConfigError
from stream_app.core.settings.imap import ImapSettings
from stream_app.core.settings.kafka import KafkaSettings
from stream_app.core.settings.route import RouteSettings
from stream_app.core.settings.sections import (
    DashboardSettings,
    DriftSettings,
    EngineSettings,
    FeedbackSettings,
    FeedSinkSettings,
    FeedsSettings,
    FilesSettings,
    FilterSettings,
    MetricsSettings,
    PostgresSettings,
    RegistrySettings,
    TopicSettings,
    WebhookSettings,
    is_list,
)

PREFIX = "WINNOW_"
CONFIG_VARIABLE = "WINNOW_CONFIG"  # names the file itself, so it is not a key of it


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

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """The value of a variable from JSON; the section takes "a, b" apart."""
        try:
            return super().decode_complex_value(field_name, field, value)  # type: ignore[arg-type]
        except ValueError:
            if field is None or not is_list(field):
                raise
            return value


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
    filter: FilterSettings = FilterSettings()
    dashboard: DashboardSettings = DashboardSettings()
    feeds: FeedsSettings = FeedsSettings()
    files: FilesSettings = FilesSettings()
    imap: ImapSettings = ImapSettings()
    postgres: PostgresSettings = PostgresSettings()
    webhook: WebhookSettings = WebhookSettings()
    feed_sink: FeedSinkSettings = FeedSinkSettings()
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

    @property
    def all_topics(self) -> tuple[str, ...]:
        """Every topic that routes, feedback and a webhook need."""
        of_routes = [topic for route in self.routes for topic in route.topics]
        of_webhook = [self.webhook.dead_letter_topic] if self.webhook.url else []
        return (*of_routes, self.feedback.topic, *of_webhook)

    def route_of(self, kind: str, name: str, key: str) -> RouteSettings:
        """The route of format `kind` that messages from outside go to: the one called `name`, else
        the only one. Raises ConfigError, naming the setting `key`, where it is not clear."""
        if name:
            route = self.route(name)
            if route.format != kind:
                raise ConfigError(f"{key} = {name!r}: its format is {route.format}, not {kind}")
            return route
        found = [route for route in self.routes if route.format == kind]
        if not found:
            raise ConfigError(f"{key}: there is no route of format {kind} to get the messages")
        if len(found) > 1:
            names = ", ".join(route.name for route in found)
            raise ConfigError(
                f"{key}: name the route that gets the messages; of format {kind}: {names}"
            )
        return found[0]

    def route(self, name: str) -> RouteSettings:
        """The route called `name`. Raises ConfigError if it is unknown."""
        for route in self.routes:
            if route.name == name:
                return route
        names = ", ".join(route.name for route in self.routes)
        raise ConfigError(f"--route {name}: there is no such route; there are: {names}")
