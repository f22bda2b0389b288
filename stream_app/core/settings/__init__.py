"""The configuration: one TOML file, every key also from the environment, wrong values refused.

`stream_app.configuration.load_settings` reads a whole one: it knows the codecs and the engines.
"""

from stream_app.core.settings.kafka import KafkaClientSettings, KafkaSettings
from stream_app.core.settings.loading import from_options, load_kafka, load_registry, read_settings
from stream_app.core.settings.route import LabelSettings, RouteSettings
from stream_app.core.settings.sections import (
    DashboardSettings,
    DriftSettings,
    EngineSettings,
    FeedbackSettings,
    FilterSettings,
    MetricsSettings,
    RegistrySettings,
    TopicSettings,
)
from stream_app.core.settings.settings import CONFIG_VARIABLE, PREFIX, Connections, Settings

__all__ = [
    "CONFIG_VARIABLE",
    "PREFIX",
    "Connections",
    "DashboardSettings",
    "DriftSettings",
    "EngineSettings",
    "FeedbackSettings",
    "FilterSettings",
    "KafkaClientSettings",
    "KafkaSettings",
    "LabelSettings",
    "MetricsSettings",
    "RegistrySettings",
    "RouteSettings",
    "Settings",
    "TopicSettings",
    "from_options",
    "load_kafka",
    "load_registry",
    "read_settings",
]
