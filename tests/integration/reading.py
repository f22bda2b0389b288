"""Reading topics to their end."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer


def polled(consumer: KafkaConsumer, milliseconds: int) -> list[Any]:
    """The records that come next."""
    return [r for records in consumer.poll(timeout_ms=milliseconds).values() for r in records]


def at_end(consumer: KafkaConsumer) -> bool:
    """Whether all that its partitions hold has been read."""
    partitions = list(consumer.assignment())
    ends = consumer.end_offsets(partitions)
    # the embedded broker says the end too low until it is asked for records
    seen = {tp: consumer.highwater(tp) for tp in partitions}
    return all(
        seen[tp] is not None and consumer.position(tp) >= max(ends[tp], seen[tp])
        for tp in partitions
    )
