"""Beginning: where a group starts to read a topic that is new to it, decided once and committed.

`auto_offset_reset` speaks of that moment only. Left to the client, `latest` also skips, without a
word, what comes to a partition that is added later, to a topic that is made again, and to a quiet
one while no worker runs. Here a group that begins at the end commits that end before it reads, and
whatever appears afterwards is read from its first record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.messages import Mark, Partition
from stream_app.services.history.marks import written
from stream_app.services.history.parting import BrokerLogs, Topics, ids_of


class Beginning:
    """The beginnings of one group member, with `auto_offset_reset = "latest"`."""

    def __init__(self, consumer: AIOKafkaConsumer, logs: BrokerLogs) -> None:
        self._consumer, self._logs = consumer, logs
        self._begun: set[str] = set()  # topics that are not new to the group

    async def before_rebalance(self) -> None:
        """Ask which topics the group has read, before partitions are dealt out: what other members
        commit after that is their share of the same beginning. Raises KafkaError."""
        await self._consumer._client._maybe_wait_metadata()  # the first time it is on its way
        partitions = [
            TopicPartition(topic, number)
            for topic in self._consumer.subscription()
            for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        found = await self._consumer._coordinator.fetch_committed_offsets(partitions)
        self._begun |= {tp.topic for tp in found}

    async def ends(
        self, without_offset: Iterable[TopicPartition], topics: Topics | None
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What to commit for those of the partitions whose topic is new. Raises KafkaError."""
        new = [tp for tp in without_offset if tp.topic not in self._begun]
        ends = await asyncio.gather(*(self._logs.end(Partition(*tp), topics) for tp in new))
        ids = ids_of(topics)
        return {
            tp: OffsetAndMetadata(end, written(Mark(ids.get(tp.topic), None)))
            for tp, end in zip(new, ends, strict=True)
        }

    def begun(self, topics: Iterable[str]) -> None:
        """These are read from now on: a partition of theirs that appears is read from its start."""
        self._begun.update(topics)
