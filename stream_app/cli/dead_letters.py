"""Dead letters as they lie in their topic, and what becomes of their headers in a replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from stream_app.cli.connect import connected, require_topics
from stream_app.core.kafka import KafkaClientSettings
from stream_app.core.label_record import ORIGIN_ID
from stream_app.core.messages import Headers, Partition, Record
from stream_app.core.settings import RouteSettings
from stream_app.pipeline.dead_letter import ATTEMPTS, ROUTE, SOURCE

_POLL_MS = 1000
_FETCH_BYTES = 64 * 1024 * 1024


def read_dead_letters(kafka: KafkaClientSettings, topic: str) -> Iterator[Record]:
    """Every dead letter there is now, partition by partition in order."""
    require_topics(kafka, [topic])
    with connected(
        KafkaConsumer,
        kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_bytes=_FETCH_BYTES,
    ) as consumer:
        for number in sorted(consumer.partitions_for_topic(topic)):
            yield from _read_partition(consumer, TopicPartition(topic, number))


def _read_partition(consumer: Any, partition: TopicPartition) -> Iterator[Record]:
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    while (position := consumer.position(partition)) < max(end, consumer.highwater(partition) or 0):
        found = consumer.poll(_POLL_MS).get(partition, [])
        # beyond the end there are open transactions, or more of what the embedded broker forgot to
        # count: its end is too low until it is asked for records
        if not found and position >= end:
            return
        yield from map(_record, found)


def _record(found: Any) -> Record:
    return Record(
        Partition(found.topic, found.partition),
        found.offset,
        found.key,
        found.value,
        tuple((name, value or b"") for name, value in found.headers),
        found.timestamp,
    )


def id_of(letter: Record) -> str:
    """The id of the record that died: `topic/partition/offset` of where it was read."""
    return letter.header(SOURCE) or letter.id


def origin_of(letter: Record) -> str:
    """The id it had first, which every replay keeps."""
    return letter.header(ORIGIN_ID) or id_of(letter)


def belongs(letter: Record, route: RouteSettings) -> bool:
    """Whether it is the route's: two may share a topic of dead letters."""
    return letter.header(ROUTE) in (None, route.name)


def replay_headers(letter: Record) -> Headers:
    """The headers it came with, its first id, and how often it was tried."""
    kept = [(name, value) for name, value in letter.headers if not name.startswith("winnow-")]
    kept.append((ORIGIN_ID, origin_of(letter).encode()))
    attempts = letter.header(ATTEMPTS)
    if attempts:
        kept.append((ATTEMPTS, attempts.encode()))
    return tuple(kept)
