"""What a group committed: by its coordinator, or by the broker's own log of commits."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from kafka import KafkaAdminClient, KafkaConsumer

from stream_app.kafka.reading import take
from tests.integration.reading import at_end, polled

OFFSETS, OF_GROUPS = "__consumer_offsets", b"\0\2"  # versions 0 and 1 of a key are of offsets


def group_offsets(admin: KafkaAdminClient, group: str, topic: str) -> dict[int, int]:
    """The group's committed offset of each partition of a topic."""
    offsets = admin.list_group_offsets(group)
    found = offsets.get(group, offsets)
    return {
        tp.partition: getattr(meta, "offset", meta)
        for tp, meta in found.items()
        if tp.topic == topic and getattr(meta, "offset", meta) >= 0
    }


def commit_log(address: str, group: str, topic: str) -> Iterator[Mapping[int, int]]:
    """Each offset of a partition that the group committed, in order, from Apache Kafka's topic of
    them. Its records' keys begin with the group, the topic and the partition, their values with the
    offset, each after a version."""
    consumer = KafkaConsumer(bootstrap_servers=address, isolation_level="read_committed")
    wanted = b"".join(struct.pack(">h", len(name)) + name.encode() for name in (group, topic))
    try:
        take(consumer, [OFFSETS], from_beginning=True)
        while not at_end(consumer):
            for record in polled(consumer, 500):
                key = record.key or b""
                if key[2:-4] == wanted and key[:2] < OF_GROUPS and record.value is not None:
                    (partition,) = struct.unpack(">i", key[-4:])
                    (offset,) = struct.unpack_from(">q", record.value, 2)
                    yield {partition: offset}
    finally:
        consumer.close()
