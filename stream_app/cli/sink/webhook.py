"""`winnow sink webhook`: labels to a program of yours."""

from __future__ import annotations

import asyncio
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
from stream_app.core.logs import configure_logging


def webhook(
    config: ConfigFile,
    url: Annotated[
        str | None,
        typer.Option(metavar="https://…", help="Where labels go. Default: webhook.url."),
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What signs them. Default: webhook.secret_file."),
    ] = None,
    dead_letters: Annotated[
        bool,
        typer.Option("--dead-letters", help="Send those of webhook.dead_letter_topic, then end."),
    ] = False,
    route: RouteName = None,
    http: Http = None,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Send each label by POST, signed by Standard Webhooks, until SIGTERM or Ctrl-C.

    Tried again until the receiver takes it: a day, then it goes to webhook.dead_letter_topic. A
    label may come twice, with the same webhook-id. With --dead-letters it sends those that no such
    run has sent before, and ends.
    """
    configure_logging(log_level, log_format)
    given = {"url": url, "secret_file": secret_file, "http": http}
    settings = with_options(load_settings(config), "webhook", given)
    from stream_app.sinks.process import Sink, run_sink  # aiohttp, which --help has no use for
    from stream_app.sinks.webhook.effect import BATCH_FOLD, WebhookLabels

    own = settings.webhook
    effect = WebhookLabels(own, settings.kafka)
    batch, routes = BATCH_FOLD * own.max_requests, chosen_routes(settings, route)
    sink = Sink("webhook", own.http, batch, effect)
    if dead_letters:  # beside the one that runs
        again = "webhook-dlq", http or "127.0.0.1:0", batch, effect
        sink = Sink(*again, dead_letters=own.dead_letter_topic, key="webhook.http")
    asyncio.run(run_sink(sink, settings.kafka, routes))
