"""Reading topics: all records, a range, single offsets, or new records.

Nothing is committed.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Mark, Partition, Record
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.connect import connected
from stream_app.kafka.topics import require_topics

Offsets = Mapping[int, int]  # by partition
Isolation = Literal["read_committed", "read_uncommitted"]

LOOK_MS = 5_000  # between two looks of a reader without end for new partitions
_POLL_MS = 1_000
_PATIENCE = 30  # polls without any progress
_FETCH_BYTES = 64 * 1024 * 1024


class Reader:
    """Records by their offsets. Read committed, it sees no aborted or open transactions."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def ends(self, topic: str) -> dict[int, int]:
        """The offset behind the last record of each partition that can be read now."""
        partitions = partitions_of(self._consumer, topic)
        return {partition.partition: self._end(partition) for partition in partitions}

    def begins(self, topic: str) -> dict[int, int]:
        """The offset of the first record of each partition that is still there."""
        found = self._consumer.beginning_offsets(partitions_of(self._consumer, topic))
        return {partition.partition: int(offset) for partition, offset in found.items()}

    def topic_id(self, topic: str) -> str | None:
        """See topic_id_of."""
        partitions_of(self._consumer, topic)  # comes with the ids
        return topic_id_of(self._consumer, topic)

    def since(self, topic: str, when: int) -> dict[int, int]:
        """The first offset written at `when` (milliseconds since the epoch) or later, of each
        partition that has one."""
        partitions = partitions_of(self._consumer, topic)
        found = self._consumer.offsets_for_times(dict.fromkeys(partitions, when))
        return {where.partition: at.offset for where, at in found.items() if at}

    def between(self, topic: str, starts: Offsets, ends: Offsets) -> Iterator[Record]:
        """The records from `starts` (0 where a partition has none) to before `ends`, partition by
        partition in order. Raises BrokerError where they do not come."""
        for number, end in ends.items():
            partition = TopicPartition(topic, number)
            self._begin(partition, starts.get(number, 0))
            while self._consumer.position(partition) < end:
                for found in self._poll(partition):
                    if found.offset < end:
                        yield record(found)

    def at(
        self, partition: Partition, offsets: Iterable[int]
    ) -> Iterator[tuple[int, Record | str]]:
        """Each offset, ascending, with its record, or why it is missing.

        The record has the mark of its log. `expired`: it lies before the partition's first record.
        `absent`: it was compacted away, was in an aborted transaction, or never was.
        """
        where = TopicPartition(*partition)
        if where not in partitions_of(self._consumer, partition.topic):
            yield from ((offset, "absent") for offset in offsets)
            return
        start, end = self._consumer.beginning_offsets([where])[where], self._end(where)
        for offset in sorted(offsets):
            if offset < start:
                yield offset, "expired"
            elif offset >= end:
                yield offset, "absent"
            else:
                yield offset, self._one(where, offset) or "absent"

    def _end(self, partition: TopicPartition) -> int:
        """The broker's end offset, or a record's beyond it: the embedded broker's is too low."""
        consumer = self._consumer
        end = int(consumer.end_offsets([partition])[partition])
        if end <= self._begin(partition, end - 1):
            return end
        self._poll(partition, 1)  # and with the last record comes the high watermark
        watermark = int(consumer.highwater(partition) or 0)
        if watermark <= end:
            return end
        consumer.seek(partition, end)
        if not consumer.poll(_POLL_MS, max_records=1):
            return end  # open transactions
        again = int(consumer.end_offsets([partition])[partition])
        return again if again > end else watermark

    def _one(self, partition: TopicPartition, offset: int) -> Record | None:
        self._begin(partition, offset)
        while self._consumer.position(partition) <= offset:
            for found in self._poll(partition, 1):
                return self._marked(found) if found.offset == offset else None
        return None

    def _marked(self, found: Any) -> Record:
        epoch = None if found.leader_epoch < 0 else found.leader_epoch
        return replace(record(found), mark=Mark(topic_id_of(self._consumer, found.topic), epoch))

    def _begin(self, partition: TopicPartition, offset: int) -> int:
        """Seek to an offset, or to the first that is left; the one it was."""
        first = int(self._consumer.beginning_offsets([partition])[partition])
        self._consumer.assign([partition])
        self._consumer.seek(partition, max(offset, first))
        return first

    def _poll(self, partition: TopicPartition, most: int | None = None) -> list[Any]:
        """What comes next; none where only markers of transactions did. Raises BrokerError."""
        before = self._consumer.position(partition)
        for _ in range(_PATIENCE):
            found = self._consumer.poll(_POLL_MS, max_records=most).get(partition, [])
            if found or self._consumer.position(partition) > before:
                return list(found)
        raise BrokerError(
            f"nothing comes from {partition.topic}/{partition.partition}/{before}, although there "
            "are records: the broker may be in trouble; try again"
        )


@contextmanager
def reading(
    kafka: KafkaClientSettings, isolation: Isolation = "read_committed"
) -> Iterator[Reader]:
    """A reader of the broker of `kafka`. Raises as `connected` does."""
    with connected(
        KafkaConsumer,
        kafka,
        isolation_level=isolation,
        enable_auto_commit=False,
        fetch_max_bytes=_FETCH_BYTES,
    ) as consumer:
        yield Reader(consumer)


def read_topic(
    kafka: KafkaClientSettings,
    topic: str,
    since: int = 0,
    isolation: Isolation = "read_committed",
    starts: Offsets | None = None,
) -> Iterator[Record]:
    """Every record there is now, partition by partition in order; those written later are not read.

    `since` (milliseconds since the epoch) leaves older ones out; so does `starts`, an offset for
    partitions by number. Raises BrokerError.
    """
    require_topics(kafka, [topic])
    with reading(kafka, isolation) as reader:
        ends = reader.ends(topic)  # before the first record is yielded: the caller may write
        if since:
            starts = {
                **ends,
                **reader.since(topic, since),
            }  # partitions without such a record: none
        yield from reader.between(topic, starts or {}, ends)


def take(consumer: Any, topics: Sequence[str], from_beginning: bool) -> None:
    """Let a consumer read all partitions of topics, from their beginnings or what comes next."""
    partitions = [partition for topic in topics for partition in partitions_of(consumer, topic)]
    consumer.assign(partitions)
    (consumer.seek_to_beginning if from_beginning else consumer.seek_to_end)(*partitions)


def take_added(consumer: Any, topics: Sequence[str]) -> None:
    """Let it also read partitions that its topics got since, from their first record. It hears of
    them every LOOK_MS, where that is its `metadata_max_age_ms`."""
    known = consumer.assignment()
    added = {partition for topic in topics for partition in partitions_of(consumer, topic)} - known
    if added:
        consumer.assign([*known, *added])
        consumer.seek_to_beginning(*added)


def topic_id_of(consumer: Any, topic: str) -> str | None:
    """A topic's id as Kafka's tools print it, as the consumer last heard it: another one where the
    topic was made again. None where the broker has no ids, or no such topic."""
    found = consumer._cluster.topic_id(topic)
    known = found is not None and found.int  # zeros are of a topic that is gone
    return urlsafe_b64encode(found.bytes).rstrip(b"=").decode() if known else None


def partitions_of(consumer: Any, topic: str) -> list[TopicPartition]:
    """A topic's partitions in order, none if it does not exist."""
    numbers = sorted(consumer.partitions_for_topic(topic) or ())
    return [TopicPartition(topic, number) for number in numbers]


def subscribe(consumer: Any, topics: Sequence[str], **how: Any) -> None:
    """Subscribe in a consumer group, which the next poll joins; `how` is kafka-python's."""
    consumer.subscribe(topics, **how)
    for topic in topics:
        # Known before the join, they cannot come during it: kafka-python 3.0.12 then joins again,
        # and forgets the assignment if a poll's time runs out meanwhile.
        partitions_of(consumer, topic)


def record(found: Any) -> Record:
    """One that kafka-python polled; a header's null value, which Kafka allows, is empty."""
    return Record(
        Partition(found.topic, found.partition),
        found.offset,
        found.key,
        found.value,
        tuple((name, value or b"") for name, value in found.headers),
        found.timestamp,
    )
