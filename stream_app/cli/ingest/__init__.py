"""`winnow ingest`: messages from somewhere else to a route's input topic."""

from __future__ import annotations

import typer

from stream_app.cli.ingest.imap import ingest_imap

ingest = typer.Typer(
    no_args_is_help=True, help="Messages from somewhere else, to a route's input topic."
)

ingest.command("imap")(ingest_imap)
