"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from stream_app.core.settings import (
    CONFIG_VARIABLE,
    KafkaSettings,
    RouteSettings,
    Settings,
    load_kafka,
)

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", "-c", metavar="FILE", envvar=CONFIG_VARIABLE, help="The configuration (TOML)."
    ),
]
RouteName = Annotated[
    str | None, typer.Option("--route", metavar="NAME", help="Only this route; default: all.")
]
BootstrapServers = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        metavar="HOST:PORT,…",
        help="The Kafka broker; default: the configuration's, or 127.0.0.1:9092.",
    ),
]


KafkaConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        help="A configuration, for its [kafka].",
    ),
]


def kafka_settings(config: Path | None, bootstrap_servers: str | None) -> KafkaSettings:
    """`[kafka]` of the file and the environment, with the servers of the option if given.

    Raises ConfigError.
    """
    kafka = load_kafka(config)
    if bootstrap_servers is None:
        return kafka
    return kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})


def chosen_routes(settings: Settings, name: str | None) -> Sequence[RouteSettings]:
    """The route called `name`, or all. Raises ConfigError if it is unknown."""
    return settings.routes if name is None else [settings.route(name)]
