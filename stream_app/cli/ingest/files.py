"""`winnow ingest files`: the messages of files -> a route's input topic, each once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level
from stream_app.cli.produce import report
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.logs import configure_logging
from stream_app.core.settings import RouteSettings
from stream_app.sources.files import STDIN, Source
from stream_app.sources.ingested_files import Manner, Outcome, run_files


def files(
    config: ConfigFile,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH")],
    route: Annotated[str, typer.Option(metavar="NAME", help="The route that gets them.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is added, until SIGTERM or Ctrl-C.")
    ] = False,
    timestamp_field: Annotated[
        str,
        typer.Option(metavar="FIELD", help="The field with a record's time. Default: the present."),
    ] = "",
    speed: Annotated[
        float,
        typer.Option(min=0, help="Replay by that field, so many times as fast. 0: at once."),
    ] = 0.0,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was sent. Default: files.state.")
    ] = None,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Send the messages of files to a route's input topic, each once: a second run goes on where
    the first one was.

    Reads what `winnow produce` reads, by the route's format. What is too large for the topic is
    listed, and the exit code is 1.
    """
    configure_logging(log_level, log_format)
    settings = load_settings(config)
    to = settings.route(route)
    manner = _manner(to, follow, timestamp_field, speed)
    if STDIN in paths:
        raise ConfigError("stdin has no progress that could be kept: use winnow produce")
    source, outcome = Source(paths, to.format), Outcome()
    http = settings.files.http if follow else ""
    kept = state or settings.files.state
    try:
        asyncio.run(run_files(source, manner, settings.kafka, to.input_topic, kept, http, outcome))
    finally:
        typer.echo(f"{outcome.sent} messages sent to {to.input_topic}")
    report(to.input_topic, source.empty, outcome.refused)


def _manner(route: RouteSettings, follow: bool, timestamp_field: str, speed: float) -> Manner:
    """Raises ConfigError."""
    if timestamp_field and route.format != "json":
        raise ConfigError(
            f"--timestamp-field is for json, and the format of {route.name} is {route.format}"
        )
    if speed and not timestamp_field:
        raise ConfigError("--speed needs --timestamp-field, the times to replay by")
    return Manner(follow, timestamp_field, speed)
