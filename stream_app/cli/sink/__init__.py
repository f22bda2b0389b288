"""`winnow sink`: labels to where they are used."""

from __future__ import annotations

import typer

from stream_app.cli.sink.imap import sink_imap

sink = typer.Typer(no_args_is_help=True, help="Labels to where they are used: a sink a process.")

sink.command("imap")(sink_imap)
