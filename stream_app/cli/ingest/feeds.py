"""`winnow ingest feeds`: the items of news feeds -> a route's input topic."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.logs import configure_logging
from stream_app.sources.feeds.opml import subscriptions


def feeds(
    config: ConfigFile,
    urls: Annotated[list[str] | None, typer.Argument(metavar="URL", show_default=False)] = None,
    opml: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A list of feeds. Default: feeds.opml."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Check each feed that is due, and end.")
    ] = False,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Send the items of RSS, Atom and JSON feeds to a route's input topic, until SIGTERM or Ctrl-C.

    An item is one record, with feed and guid as its key, and is sent once; a restart goes on where
    it was. Each feed is checked between every 5 minutes and once a day, by how often it has news.
    """
    configure_logging(log_level, log_format)
    settings = load_settings(config)
    if find_spec("feedparser") is None or find_spec("fastfeedparser") is None:
        raise ConfigError("feeds need an extra: pip install 'winnow-stream[feeds]'")
    lists = opml or ([Path(settings.feeds.opml)] if settings.feeds.opml and not urls else [])
    found = subscriptions(lists, urls or [])
    route = settings.route_of("feed", settings.feeds.route, "feeds.route")
    from stream_app.sources.feeds.process import run_feeds  # a second that --help has no use for

    asyncio.run(run_feeds(found, settings.feeds, settings.kafka, route.input_topic, once))
