"""`winnow filter`: labels for a mail server as its mail comes in, and over HTTP."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec
from typing import Annotated

import typer

from stream_app.cli.options import ConfigFile, Format, Level, with_options
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.logs import configure_logging

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


def filter_(
    config: ConfigFile,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="unix:/PATH|inet:HOST:PORT",
            help="Where the mail server connects; '' for nowhere. Default: filter.listen.",
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="1.5s", help="The longest wait for a label. Default: 1.5s."),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Labels over HTTP, and metrics."),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option("--in-process", help="Label in this process, without Kafka and workers."),
    ] = False,
    log_level: Level = "info",
    log_format: Format = "text",
) -> None:
    """Label mail as it comes in: a milter for Postfix and Sendmail, until SIGTERM or Ctrl-C.

    Each mail goes to its route's input topic; its label comes back as headers. Without a label by
    the deadline it passes as it is, whatever has failed. Programs ask by POST /v1/label/ROUTE.
    """
    configure_logging(log_level, log_format)
    given = {"listen": listen, "http": http, "deadline_seconds": deadline and _seconds(deadline)}
    settings = with_options(load_settings(config), "filter", given)
    if settings.filter.listen and find_spec("kilter") is None:
        raise ConfigError("the milter needs an extra: pip install 'winnow-stream[mail]'")
    from stream_app.filter.process import run_filter  # a second that --help has no use for

    asyncio.run(run_filter(settings, in_process))


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ConfigError(f"--deadline {text}: write seconds as 2s or 1.5s, or 800ms")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)
