"""The command line `winnow`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stream_app import __version__
from stream_app.cli.broker import broker
from stream_app.cli.classify import classify
from stream_app.cli.config import config
from stream_app.cli.demo.command import demo
from stream_app.cli.dlq import dlq
from stream_app.cli.produce import produce
from stream_app.cli.topics import topics
from stream_app.cli.watch import watch
from stream_app.cli.worker import worker
from stream_app.core.errors import ConfigError, WinnowError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"winnow {__version__}")
        raise typer.Exit


@app.callback()
def _winnow(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it, and end.")
    ] = False,
) -> None:
    """Labels text as it flows through Kafka. Begin with: winnow demo"""


app.command()(demo)
app.command()(worker)
app.add_typer(topics, name="topics")
app.command()(classify)
app.command()(produce)
app.command()(watch)
app.add_typer(dlq, name="dlq")
app.add_typer(config, name="config")
app.command()(broker)


def main() -> None:
    """Run a command. A WinnowError is a line on stderr and exit code 1; a ConfigError's is 2."""
    try:
        app(prog_name="winnow")
    except WinnowError as error:
        typer.echo(f"winnow: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


if __name__ == "__main__":
    main()
