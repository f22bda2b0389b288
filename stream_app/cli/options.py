"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stream_app.core.command_line import config_option
from stream_app.core.logs import LogFormat
from stream_app.core.settings import (
    KafkaSettings,
    RouteSettings,
    Settings,
    from_options,
    load_kafka,
)

LogLevel = Literal["debug", "info", "warning", "error"]

ConfigFile = Annotated[Path, config_option("The configuration (TOML).")]
KafkaConfig = Annotated[Path | None, config_option("A configuration, for its [kafka].")]
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
Level = Annotated[LogLevel, typer.Option("--log-level", help="Level of Winnow's log, on stderr.")]
Format = Annotated[
    LogFormat, typer.Option("--log-format", help="Of the log: text, or json, an object a line.")
]
Http = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Metrics and health. Default: http of its section."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs, an object a line.")]


def print_row(as_json: bool, row: Mapping[str, Any], line: str) -> None:
    """A row of a command's table, for a program or as a line for people."""
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else line)


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


def with_options(settings: Settings, section: str, given: Mapping[str, Any]) -> Settings:
    """The options of a section win over the file; None is one not given. Raises ConfigError."""
    current = getattr(settings, section)
    chosen = {name: value for name, value in given.items() if value is not None}
    merged = from_options(type(current), **current.model_dump() | chosen)
    return settings.model_copy(update={section: merged})
