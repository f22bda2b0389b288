"""Dead letters as they lie in their topic, and what becomes of their headers in a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from stream_app.core.label_record import ORIGIN_ID
from stream_app.core.messages import Headers, Record
from stream_app.core.settings import KafkaClientSettings, RouteSettings
from stream_app.kafka.connect import connected, require_topics
from stream_app.pipeline.dead_letter import ATTEMPTS, COUNT, ROUTE, SOURCE

REPLAY_OF = "winnow-replay-of"  # of a record that was sent back: the id of its dead letter

_POLL_MS = 1000
_FETCH_BYTES = 64 * 1024 * 1024


def read_topic(
    kafka: KafkaClientSettings,
    topic: str,
    since: int = 0,
    isolation: str = "read_committed",
    first: Mapping[int, int] | None = None,
) -> Iterator[Record]:
    """Every record there is now, partition by partition in order; those written later are not read.

    `since` (milliseconds since the epoch) leaves older ones out; so does `first`, an offset for
    partitions by number. Raises BrokerError.
    """
    require_topics(kafka, [topic])
    with connected(
        KafkaConsumer,
        kafka,
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # what a `first` points at may have expired
        fetch_max_bytes=_FETCH_BYTES,
    ) as consumer:
        partitions = [
            TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))
        ]
        ends = _ends(consumer, partitions)  # all before the first record, whose reader may write
        starts = consumer.offsets_for_times(dict.fromkeys(partitions, since)) if since else {}
        for partition in partitions:
            consumer.assign([partition])
            if first and partition.partition in first:
                consumer.seek(partition, first[partition.partition])
            elif not since:
                consumer.seek_to_beginning(partition)
            elif starts.get(partition):
                consumer.seek(partition, starts[partition].offset)
            else:
                continue  # nothing was written since
            yield from _read_partition(consumer, partition, *ends[partition])


def _ends(
    consumer: Any, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Where each partition's readable records end, as far as the broker says, and its last record.

    The embedded broker says the first too low; what lies between may also be open transactions.
    """
    ends: dict[TopicPartition, int] = consumer.end_offsets(partitions)
    consumer.assign(partitions)
    for partition, end in ends.items():
        consumer.seek(partition, max(0, end - 1))
    for _ in partitions:  # a poll may answer for one of them only
        consumer.poll(_POLL_MS)
        if all(consumer.highwater(partition) is not None for partition in partitions):
            break
    return {p: (end, max(end, consumer.highwater(p) or 0)) for p, end in ends.items()}


def _read_partition(
    consumer: Any, partition: TopicPartition, end: int, last: int
) -> Iterator[Record]:
    while (position := consumer.position(partition)) < last:
        found = consumer.poll(_POLL_MS).get(partition, [])
        if not found and position >= end:
            return  # what lies beyond is in open transactions
        yield from (Record.polled(each) for each in found if each.offset < last)


def id_of(letter: Record) -> str:
    """The id of the record that died: `topic/partition/offset` of where it was read."""
    return letter.header(SOURCE) or letter.id


def origin_of(letter: Record) -> str:
    """The id it had first, which every replay keeps."""
    return letter.header(ORIGIN_ID) or id_of(letter)


def belongs(letter: Record, route: RouteSettings) -> bool:
    """Whether it is the route's: two may share a topic of dead letters."""
    return letter.header(ROUTE) in (None, route.name)


def attempts_of(letter: Record) -> int:
    """How often it has died; once, where nobody says."""
    attempts = letter.header(ATTEMPTS) or ""
    return int(attempts) if COUNT.fullmatch(attempts) else 1


def replay_headers(letter: Record) -> Headers:
    """The headers it came with, its first id, which letter it was, and how often it was tried."""
    kept = [(name, value) for name, value in letter.headers if not name.startswith("winnow-")]
    return (
        *kept,
        (ORIGIN_ID, origin_of(letter).encode()),
        (REPLAY_OF, letter.id.encode()),
        (ATTEMPTS, str(attempts_of(letter)).encode()),
    )
