"""The configuration: one TOML file, every key also from the environment, wrong values refused."""

from stream_app.core.settings.configuration import (
    CONFIG_VARIABLE,
    PREFIX,
    Connections,
    EngineSettings,
    KafkaSettings,
    MetricsSettings,
    Settings,
    TopicSettings,
    load_kafka,
    load_registry,
    load_settings,
)

__all__ = [
    "CONFIG_VARIABLE",
    "PREFIX",
    "Connections",
    "EngineSettings",
    "KafkaSettings",
    "MetricsSettings",
    "Settings",
    "TopicSettings",
    "load_kafka",
    "load_registry",
    "load_settings",
]
