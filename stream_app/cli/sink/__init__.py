"""`winnow sink`: labels to where they are used."""

from __future__ import annotations

import typer

sink = typer.Typer(no_args_is_help=True, help="Labels to where they are used: a sink a process.")
