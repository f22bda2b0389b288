"""`winnow ingest`: messages from somewhere else to a route's input topic."""

from __future__ import annotations

import typer

ingest = typer.Typer(
    no_args_is_help=True, help="Messages from somewhere else, to a route's input topic."
)
