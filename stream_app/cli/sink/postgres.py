"""`winnow sink postgres`: labels to a table."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Annotated

import typer

from stream_app.cli.options import (
    ConfigFile,
    Format,
    Http,
    Level,
    RouteName,
    chosen_routes,
    with_options,
)
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.logs import configure_logging


def postgres(
    config: ConfigFile,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="postgresql://USER@HOST/DATABASE",
            help="The database, without a password. Default: postgres.url.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="[SCHEMA.]TABLE", help="Made if missing. Default: labels.")
    ] = None,
    route: RouteName = None,
    http: Http = None,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Write labels to a table of PostgreSQL, one row a record, until SIGTERM or Ctrl-C.

    The table is made at the start. A row is there once, whatever is killed; a later label of the
    same record replaces it. A password comes from postgres.password_file or PGPASSFILE.
    """
    configure_logging(log_level, log_format)
    given = {"url": url, "table": table, "http": http}
    settings = with_options(load_settings(config), "postgres", given)
    if find_spec("psycopg") is None:
        raise ConfigError("this sink needs an extra: pip install 'winnow-stream[postgres]'")
    from stream_app.sinks.postgres.effect import BATCH, PostgresLabels  # of the extra
    from stream_app.sinks.process import Sink, run_sink

    effect = PostgresLabels(settings.postgres)
    sink = Sink("postgres", settings.postgres.http, BATCH, effect)
    asyncio.run(run_sink(sink, settings.kafka, chosen_routes(settings, route)))
