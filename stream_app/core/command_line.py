"""What `winnow` and `winnow-train` share: help, version, errors and exit codes."""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer

from stream_app import __version__
from stream_app.core.errors import ConfigError, WinnowError
from stream_app.core.logs import logs_json
from stream_app.core.settings import CONFIG_VARIABLE


def new_app() -> typer.Typer:
    """An application without commands yet."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def version_option(program: str) -> Any:
    """A program's `--version`."""

    def show(asked: bool) -> None:
        if asked:
            typer.echo(f"{program} {__version__}")
            raise typer.Exit

    return typer.Option(
        "--version", callback=show, is_eager=True, help="Print the version and exit."
    )


def config_option(text: str) -> Any:
    """A command's `--config`, with its help."""
    return typer.Option("--config", "-c", metavar="FILE", envvar=CONFIG_VARIABLE, help=text)


def run_app(app: typer.Typer, program: str) -> None:
    """Run a command. A WinnowError is a line on stderr and exit code 1; a ConfigError's is 2."""
    try:
        if sys.flags.optimize:
            raise ConfigError(
                "Python runs without asserts (PYTHONOPTIMIZE or -O), and kafka-python then reads "
                "answers of brokers wrongly: unset it"
            )
        _check_completion(sys.argv[1:])
        app(prog_name=program)
    except WinnowError as error:
        if logs_json():
            logging.getLogger(program).error("%s", error)
        else:
            typer.echo(f"{program}: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _check_completion(arguments: list[str]) -> None:
    """Typer completes for the shell that runs it, and would take no notice of another's name."""
    option, *more = arguments or [""]
    if option in ("--show-completion", "--install-completion") and more:
        raise ConfigError(f"{option} is for the shell that runs it: give it alone, in {more[0]}")
