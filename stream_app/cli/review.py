"""`winnow review`: a person labels records in a terminal."""

from __future__ import annotations

import getpass
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from rich.console import Console

from stream_app.cli.options import ConfigFile
from stream_app.codecs import CODECS
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError, RecordError
from stream_app.core.feedback import told
from stream_app.core.headers import CONFIDENCE, LABEL, mark_of, origin_id
from stream_app.core.messages import Message, ParseSpec, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.connect import connected
from stream_app.kafka.reading import partitions_of, read_topic
from stream_app.kafka.sending import Sending, sending
from stream_app.kafka.topics import require_topics
from stream_app.model.artifact import ModelCard
from stream_app.model.references import resolve

SHOWN = 1500  # characters of a body
SKIP, QUIT, NOTHING = "s", "q", "0"


def review(
    config: ConfigFile,
    route: Annotated[str, typer.Option("--route", metavar="NAME", help="The route to review.")],
    who: Annotated[
        str | None,
        typer.Option(help="The source that feedback is recorded with. Default: your user name."),
    ] = None,
) -> None:
    """Label records of a route's review topic; answers go to the feedback topic.

    The answer is the number of a label, s to skip the record, or q to stop; where a text may have
    several labels all their numbers, or 0 for none. Records answered or skipped are not shown
    again: a consumer group of the route remembers them.
    """
    settings = load_settings(config)
    chosen = settings.route(route)
    if not chosen.review_topic:
        raise ConfigError(
            f"route {route} has nothing to review: set its review_share or review_unsure"
        )
    card = resolve(chosen.model, settings.registry).card
    require_topics(settings.kafka, [chosen.review_topic, settings.feedback.topic])
    ask = _asker(Console(highlight=False, markup=False), chosen, card)
    with (
        _memory(settings.kafka, chosen) as memory,
        sending(settings.kafka, settings.feedback.topic) as feedback,
    ):
        try:
            for record in _unseen(settings.kafka, chosen, memory):
                labels = ask(record)
                if labels is not None:
                    _send(feedback, record, labels, route, who or getpass.getuser())
                _remember(memory, record)
        except typer.Abort:  # q, Ctrl-C, or the end of the input
            typer.echo("", err=True)
        typer.echo(f"{feedback.confirmed} records were given a label", err=True)


@contextmanager
def _memory(kafka: KafkaSettings, route: RouteSettings) -> Iterator[Any]:
    """The consumer whose commits mark records as seen."""
    group = f"{kafka.group_id}-review-{route.name}"
    with connected(KafkaConsumer, kafka, group_id=group, enable_auto_commit=False) as consumer:
        yield consumer


def _unseen(kafka: KafkaSettings, route: RouteSettings, memory: Any) -> Iterator[Record]:
    topic = route.review_topic
    seen = {each.partition: memory.committed(each) or 0 for each in partitions_of(memory, topic)}
    return read_topic(kafka, topic, starts=seen)


def _remember(memory: Any, record: Record) -> None:
    commit = OffsetAndMetadata(record.offset + 1, "", -1)
    memory.commit({TopicPartition(*record.partition): commit})


def _send(feedback: Sending, record: Record, labels: Sequence[str], route: str, who: str) -> None:
    """The answer to the feedback topic, confirmed."""
    said = told(labels, route, who, id_=origin_id(record), mark=mark_of(record))
    feedback.send(str(said.id), said.encoded, said.key)
    feedback.finish()


def _asker(
    console: Console, route: RouteSettings, card: ModelCard
) -> Callable[[Record], Sequence[str] | None]:
    """Shows a record and asks: its labels, None where it is skipped. Raises typer.Abort."""
    several = card.problem == "multi_label"
    numbers = {str(number): label for number, label in enumerate(card.labels, 1)}
    menu = "  ".join(f"{number} {label}" for number, label in numbers.items())
    menu += f"  {NOTHING} none" if several else ""

    def ask(record: Record) -> Sequence[str] | None:
        said = f"{record.header(LABEL)}, {float(record.header(CONFIDENCE) or 0):.0%}"
        console.rule(printable(f"{origin_id(record)}: {said}"))
        message = _parsed(record, route.format, route.parse_spec)
        console.print(printable(message.title), style="bold")
        console.print(printable(message.body[:SHOWN]))
        console.print(f"\n{menu}  {SKIP} skip  {QUIT} stop", style="cyan")
        while (answer := typer.prompt("labels" if several else "label").strip()) != SKIP:
            if answer == QUIT:
                raise typer.Abort
            chosen = answer.replace(",", " ").split()
            if several and chosen == [NOTHING]:
                return []
            if chosen and set(chosen) <= set(numbers) and (several or len(chosen) == 1):
                return [numbers[number] for number in dict.fromkeys(chosen)]
        return None

    return ask


def _parsed(record: Record, format_name: str, spec: ParseSpec) -> Message:
    """What the model saw of it; the format may have been another when it was labelled."""
    try:
        return CODECS[format_name](record.value or b"", spec)
    except RecordError as error:
        return Message(title=f"(it cannot be read any more: {error})")


def printable(text: str) -> str:
    """The text without characters that could change the terminal: escapes, reversed lines."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text
    )
