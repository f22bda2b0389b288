"""`winnow dashboard`: the streams as a page that moves."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level
from stream_app.configuration import load_settings
from stream_app.core.logs import configure_logging
from stream_app.core.settings import DashboardSettings, from_options
from stream_app.core.tether import tethered


def dashboard(
    config: ConfigFile,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where it is opened. Default: dashboard.listen."),
    ] = None,
    show_text: Annotated[
        bool,
        typer.Option("--show-text", help="Show texts, and take corrections. Needs a token."),
    ] = False,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Show labels, their mix, waits, lag and dead letters on a page, until SIGTERM or Ctrl-C.

    It reads the label and dead-letter topics, commits nothing, and keeps what it counts in a file.
    """
    configure_logging(log_level, log_format)
    settings = load_settings(config)
    given = {} if listen is None else {"listen": listen}
    chosen = from_options(DashboardSettings, **settings.dashboard.model_dump() | given)
    from stream_app.web.dashboard.process import run_dashboard  # --help has no use for it

    asyncio.run(run_dashboard(settings.model_copy(update={"dashboard": chosen}), show_text))


def dashboard_command(config: Path) -> list[str]:
    """The command of a dashboard that ends when this process does."""
    command = [sys.executable, "-m", "stream_app", "dashboard"]
    return tethered([*command, "--config", str(config), "--log-level", "warning"])
