"""The command line `winnow`."""

from __future__ import annotations

from typing import Annotated

from stream_app.cli.broker import broker
from stream_app.cli.classify import classify
from stream_app.cli.config import config
from stream_app.cli.correct import correct
from stream_app.cli.dashboard import dashboard
from stream_app.cli.demo.command import demo
from stream_app.cli.dlq import dlq
from stream_app.cli.filter import filter_
from stream_app.cli.ingest import ingest
from stream_app.cli.models import models
from stream_app.cli.produce import produce
from stream_app.cli.review import review
from stream_app.cli.sink import sink
from stream_app.cli.topics import topics
from stream_app.cli.watch import watch
from stream_app.cli.worker import worker
from stream_app.core.command_line import new_app, run_app, version_option

app = new_app()


@app.callback()
def _winnow(
    version: Annotated[bool, version_option("winnow")] = False,
) -> None:
    """Labels text as it flows through Kafka. Begin with: winnow demo"""


app.command()(demo)
app.command()(worker)
app.command(name="filter")(filter_)
app.add_typer(topics, name="topics")
app.command()(classify)
app.command()(produce)
app.add_typer(ingest, name="ingest")
app.add_typer(sink, name="sink")
app.command()(watch)
app.command()(dashboard)
app.add_typer(dlq, name="dlq")
app.command()(review)
app.command()(correct)
app.add_typer(models, name="models")
app.add_typer(config, name="config")
app.command()(broker)


def main() -> None:
    """The entry point; see `run_app` for exit codes."""
    run_app(app, "winnow")


if __name__ == "__main__":
    main()
