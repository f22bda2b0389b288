"""`winnow produce`: messages in files -> a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from stream_app.cli.options import BootstrapServers, KafkaConfig, kafka_settings
from stream_app.codecs import CODECS
from stream_app.kafka.sending import sending
from stream_app.kafka.topics import require_topics
from stream_app.sources.files import Source


def produce(
    topic: Annotated[str, typer.Option(help="Where the messages go; it must exist.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="-: stdin.")],
    config: KafkaConfig = None,
    bootstrap_servers: BootstrapServers = None,
    message_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"{', '.join(CODECS)}. Default: by each path's name; rfc822 for other names, "
            "text for stdin.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many messages.")] = None,
) -> None:
    """Send the messages of files to a topic once, as they are and without a key. `winnow ingest
    files` remembers what it has sent.

    rfc822 accepts mails, mbox, Maildir, and folders and tar archives of mails; json JSON Lines
    and .csv (rows become objects); feed XML files and JSON Lines; text lines. Empty
    files and mails are counted, not sent. A message too large for the topic is listed, the
    others are sent, and the exit code is 1.
    """
    source = Source(paths, message_format)
    kafka = kafka_settings(config, bootstrap_servers)
    require_topics(kafka, [topic])
    with sending(kafka, topic) as records:
        try:
            with _progress(source) as progress:
                for found in islice(source, limit):
                    records.send(found.name, found.value)
                    progress(records.confirmed)
        finally:
            records.finish()
            typer.echo(f"{records.confirmed} messages sent to {topic}")
    report(topic, source.empty, records.refused)


def report(topic: str, empty: int, refused: Sequence[str]) -> None:
    """Say what was not sent; exit code 1 where a message was refused."""
    if empty:
        typer.echo(f"winnow: left out {empty} empty files or mails", err=True)
    for name in refused:
        typer.echo(f"winnow: {name} is too large for {topic} and was not sent", err=True)
    if refused:
        raise typer.Exit(1)


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal: how much of the files is read, and how many messages are confirmed."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[confirmed]} confirmed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=source.size or None, confirmed=0)
        yield lambda confirmed: progress.update(
            task, completed=source.position, confirmed=confirmed
        )
