"""`winnow sink feed`: labelled items for feed readers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level, RouteName, chosen_routes, with_options
from stream_app.configuration import load_settings
from stream_app.core.logs import configure_logging


def feed(
    config: ConfigFile,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The items (SQLite). Default: feed_sink.file."),
    ] = None,
    route: RouteName = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The feeds, metrics, health. Default: feed_sink.http."
        ),
    ] = None,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Serve an Atom and a JSON feed of each route and label, until SIGTERM or Ctrl-C.

    At /feeds/ROUTE/LABEL.atom and .json: title, link and label of the newest items. /feeds/ lists
    them.
    """
    configure_logging(log_level, log_format)
    settings = with_options(load_settings(config), "feed_sink", {"file": file, "http": http})
    from stream_app.sinks.feed.effect import BATCH, FeedItems  # which --help has no use for
    from stream_app.sinks.feed.http import FeedServer
    from stream_app.sinks.feed.store import Store
    from stream_app.sinks.process import Sink, run_sink
    from stream_app.web.access import address, bearer_token

    own, routes = settings.feed_sink, chosen_routes(settings, route)
    token = bearer_token("feed_sink", own.token_file, address(own.http)[0])
    store = Store(own.file, own.items)
    effect = FeedItems(store, settings.kafka, routes, own.items)
    server = FeedServer(store, own, token)
    sink = Sink("feed", own.http, BATCH, effect, server.resources, key="feed_sink.http")
    asyncio.run(run_sink(sink, settings.kafka, routes))
