"""`winnow sink imap`: mail moved by the decision on it."""

from __future__ import annotations

import asyncio

from stream_app.cli.ingest.imap import imap_settings
from stream_app.cli.options import ConfigFile, Format, Level
from stream_app.configuration import load_settings
from stream_app.core.logs import configure_logging
from stream_app.core.metrics import Metrics


def imap(config: ConfigFile, log_level: Level = "info", log_format: Format = "text") -> None:
    """Move mail of an IMAP account by the decision on it: spam to Junk, until SIGTERM or Ctrl-C.

    It moves what `winnow ingest imap` read, where `imap.move` names a mailbox for the decision.
    Mail that is gone, answered, flagged or deleted meanwhile is left alone.
    """
    configure_logging(log_level, log_format)
    settings = imap_settings(load_settings(config))
    route = settings.route_of("rfc822", settings.imap.route, "imap.route")
    from stream_app.sinks.imap import BATCH, MailMover  # of an extra
    from stream_app.sinks.process import Sink, run_sink

    metrics = Metrics()
    effect = MailMover(settings.imap, metrics)
    sink = Sink(
        "imap", settings.imap.sink_http, BATCH, effect, metrics=metrics, key="imap.sink_http"
    )
    asyncio.run(run_sink(sink, settings.kafka, [route]))
