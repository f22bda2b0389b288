"""The configuration: one TOML file, every key also from the environment, wrong values refused.

`stream_app.configuration.load_settings` reads a whole one: it knows the codecs and the engines.
"""

from stream_app.core.settings.imap import ImapSettings
from stream_app.core.settings.kafka import KafkaClientSettings, KafkaSettings
from stream_app.core.settings.loading import from_options, load_kafka, load_registry, read_settings
from stream_app.core.settings.route import LabelSettings, RouteSettings
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
)
from stream_app.core.settings.settings import CONFIG_VARIABLE, PREFIX, Connections, Settings

__all__ = [
    "CONFIG_VARIABLE",
    "PREFIX",
    "Connections",
    "DashboardSettings",
    "DriftSettings",
    "EngineSettings",
    "FeedSinkSettings",
    "FeedbackSettings",
    "FeedsSettings",
    "FilesSettings",
    "FilterSettings",
    "ImapSettings",
    "KafkaClientSettings",
    "KafkaSettings",
    "LabelSettings",
    "MetricsSettings",
    "PostgresSettings",
    "RegistrySettings",
    "RouteSettings",
    "Settings",
    "TopicSettings",
    "WebhookSettings",
    "from_options",
    "load_kafka",
    "load_registry",
    "read_settings",
]
