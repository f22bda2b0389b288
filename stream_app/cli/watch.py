"""`winnow watch`: labels as they come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from kafka import KafkaConsumer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from stream_app.cli.options import (
    AsJson,
    BootstrapServers,
    RouteName,
    chosen_routes,
    kafka_settings,
)
from stream_app.configuration import load_settings
from stream_app.core.command_line import config_option
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import UNSURE
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.connect import connected
from stream_app.kafka.reading import LOOK_MS, take, take_added
from stream_app.kafka.topics import require_topics

POLL_MS = 1000
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def watch(
    config: Annotated[Path | None, config_option("Watch its routes.")] = None,
    route: RouteName = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Instead of the routes: watch this output topic.")
    ] = None,
    bootstrap_servers: BootstrapServers = None,
    as_json: AsJson = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Include existing records.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many labels.")] = None,
) -> None:
    """Show labels as they come, one line each, until Ctrl-C. Nothing is committed."""
    topics = topic or []
    if config and not topics:
        topics = [r.output_topic for r in chosen_routes(load_settings(config), route)]
    if not topics:
        raise typer.BadParameter("say what to watch: --config FILE, or --topic TOPIC")
    kafka = kafka_settings(config, bootstrap_servers)
    show = _show_raw if as_json else _show_line(Console(highlight=False, soft_wrap=True))
    try:
        for record in islice(_labels(kafka, topics, from_beginning), count):
            show(record.value)
    except KeyboardInterrupt:
        return


def _labels(
    kafka: KafkaClientSettings, topics: Sequence[str], from_beginning: bool
) -> Iterator[Any]:
    """Records of the topics, without end."""
    require_topics(kafka, topics)
    how = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    with connected(KafkaConsumer, kafka, metadata_max_age_ms=LOOK_MS, **how) as consumer:
        take(consumer, topics, from_beginning)
        while True:
            for records in consumer.poll(POLL_MS).values():
                yield from records
            take_added(consumer, topics)


def _show_raw(value: bytes | None) -> None:
    sys.stdout.buffer.write((value or b"") + b"\n")
    sys.stdout.buffer.flush()


def _show_line(console: Console) -> Callable[[bytes | None], None]:
    """One line a label; a label keeps its colour."""
    colours: dict[str, str] = {}

    def show(value: bytes | None) -> None:
        try:
            record = LabelRecord.model_validate_json(value or b"")
        except ValidationError:
            console.print("(a record that is not a label)", style="dim")
            return
        colour = colours.setdefault(record.label, _COLOURS[len(colours) % len(_COLOURS)])
        line = Text(f"{record.classified_at:%H:%M:%S}  {record.route:<10} ")
        line.append(f"{record.label:<10}", style=colour)
        line.append(f" {record.confidence:6.1%}  {record.id}")
        if record.decision == UNSURE:
            line.append("  ".join(["", UNSURE, *record.marks]), style="bold red")
        for name, field in record.source.fields.items():
            line.append(f"  {name}={field}", style="dim")
        console.print(line)

    return show
