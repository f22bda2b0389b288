"""`winnow sink`: labels to where they are used, a sink a process."""

from __future__ import annotations

import typer

from stream_app.cli.sink.feed import feed
from stream_app.cli.sink.imap import imap
from stream_app.cli.sink.postgres import postgres
from stream_app.cli.sink.webhook import webhook

sink = typer.Typer(no_args_is_help=True, help="Labels to where they are used, a sink a process.")


@sink.callback()
def _group() -> None:
    """Labels to where they are used, a sink a process."""


sink.command()(postgres)
sink.command()(webhook)
sink.command()(feed)
sink.command()(imap)
