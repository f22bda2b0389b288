"""Options that sinks share."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_app.cli.worker import LogLevel

Http = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Metrics and health. Default: http of its section."),
]
Level = Annotated[LogLevel, typer.Option("--log-level", help="Level of Winnow's log, on stderr.")]
