"""Label topics with records made here, and sinks as processes that follow them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from stream_app.core.label_record import LabelRecord
from tests.integration.harness import Stage
from tests.integration.process import Worker
from tests.labels import a_label

LABELS = ("spam", "ham")


def said(number: int) -> str:
    """The label of record `number`."""
    return LABELS[number % 3 == 0]


def numbered(stage: Stage, topic: str, numbers: Iterable[int]) -> list[LabelRecord]:
    """Labels of a route's records, told apart by their ids."""
    return [
        a_label(
            number // stage.partitions,
            id=f"{topic}/{number % stage.partitions}/{number // stage.partitions}",
            label=said(number),
            decision=said(number),
            source_topic=topic,
            source_partition=number % stage.partitions,
        )
        for number in numbers
    ]


def send_labels(stage: Stage, topic: str, labels: Sequence[LabelRecord]) -> None:
    """To the label topic of an input topic, each to its record's partition. Raises KafkaError where
    one may not be there."""
    with stage.producer(linger_ms=5) as producer:
        sent = [
            producer.send(
                f"{topic}.labels",
                label.model_dump_json().encode(),
                partition=label.source.partition,
            )
            for label in labels
        ]
        for delivery in sent:
            delivery.get(60)


@contextmanager
def sink(stage: Stage, *command: str, port: int = 0) -> Iterator[Worker]:
    """`winnow sink …`, killed at the end of the block if it still runs; 0 is any port."""
    log = stage.folder / f"sink-{uuid.uuid4().hex[:6]}.log"
    http = f"--http=127.0.0.1:{port}"
    running = Worker(stage.config, log, {}, command=("sink", *command, http))
    running.port = str(port)
    try:
        yield running
    finally:
        running.kill()
