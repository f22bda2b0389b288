"""`winnow ingest`: messages from somewhere else to a route's input topic, one file a command."""

from __future__ import annotations

import typer

from stream_app.cli.ingest.feeds import feeds
from stream_app.cli.ingest.files import files
from stream_app.cli.ingest.imap import imap

ingest = typer.Typer(
    no_args_is_help=True, help="Messages from somewhere else, to a route's input topic."
)
ingest.command()(feeds)
ingest.command()(files)
ingest.command()(imap)
