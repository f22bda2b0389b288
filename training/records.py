"""Records by their offsets: a range of a topic, or one here and there. Nothing is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaClientSettings

Offsets = Mapping[int, int]  # by partition

_CONNECT_MS = 5_000
_POLL_MS = 1_000
_PATIENCE = 30  # polls without any progress
_FETCH_BYTES = 64 * 1024 * 1024


class Records:
    """What lies on a broker. Transactions that were aborted, or are open, are not seen."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def ends(self, topic: str) -> dict[int, int]:
        """The offset behind the last record of each partition. Raises BrokerError without one."""
        consumer = self._consumer
        if topic not in consumer.topics():  # asking for its partitions might create it
            raise BrokerError(
                f"the broker has no topic {topic!r}: check the name, or create it: "
                "winnow topics create --config FILE"
            )
        numbers = sorted(consumer.partitions_for_topic(topic))
        return {number: self._end(TopicPartition(topic, number)) for number in numbers}

    def between(self, topic: str, starts: Offsets, ends: Offsets) -> Iterator[Record]:
        """The records from `starts` (0 where a partition has none) to before `ends`."""
        for number, end in ends.items():
            partition = TopicPartition(topic, number)
            self._begin(partition, starts.get(number, 0))
            while self._consumer.position(partition) < end:
                for found in self._poll(partition):
                    if found.offset < end:
                        yield Record.polled(found)

    def at(
        self, partition: Partition, offsets: Iterable[int]
    ) -> Iterator[tuple[int, Record | str]]:
        """Each offset, ascending, with its record, or why there is none.

        `expired`: it lies before the partition's first record. `absent`: it was compacted away,
        was in an aborted transaction, or never was.
        """
        consumer, where = self._consumer, TopicPartition(*partition)
        if partition.number not in (consumer.partitions_for_topic(partition.topic) or ()):
            yield from ((offset, "absent") for offset in offsets)
            return
        start, end = consumer.beginning_offsets([where])[where], self._end(where)
        for offset in sorted(offsets):
            if offset < start:
                yield offset, "expired"
            elif offset >= end:
                yield offset, "absent"
            else:
                yield offset, self._one(where, offset) or "absent"

    def _end(self, partition: TopicPartition) -> int:
        """The embedded broker says it too low until it is asked for records."""
        end = int(self._consumer.end_offsets([partition])[partition])
        first = self._begin(partition, end - 1)
        if end > first:
            self._poll(partition, 1)
        return max(end, self._consumer.highwater(partition) or 0)

    def _one(self, partition: TopicPartition, offset: int) -> Record | None:
        self._begin(partition, offset)
        while self._consumer.position(partition) <= offset:
            for found in self._poll(partition, 1):
                return Record.polled(found) if found.offset == offset else None
        return None

    def _begin(self, partition: TopicPartition, offset: int) -> int:
        """Go to an offset, or to the first that is left; which one that is."""
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
            "are records: a transaction may be open, or the broker be in trouble; try again"
        )


@contextmanager
def open_records(kafka: KafkaClientSettings) -> Iterator[Records]:
    """A connection to the broker of `kafka`. Raises BrokerError where it does not let us in, and
    for every Kafka error inside."""
    servers = kafka.bootstrap_servers
    try:
        consumer = KafkaConsumer(
            **kafka.client_arguments(),
            bootstrap_timeout_ms=_CONNECT_MS,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_bytes=_FETCH_BYTES,
        )
    except (KafkaError, ValueError, OSError) as error:
        raise BrokerError(
            f"the Kafka broker at {servers} cannot be used ({type(error).__name__}): check "
            "[kafka] of the configuration, and that it runs"
        ) from error
    try:
        with closing(consumer):
            yield Records(consumer)
    except KafkaError as error:
        raise BrokerError(f"the broker at {servers} says: {error}") from error
