"""Parting: whether the log that is there now is the one in which an offset was reached.

A log goes back where a broker loses what it had not written to disk, or is restored from a copy. It
starts anew where its topic is deleted and made again. Then what lies below the offset, from where
the two logs part, was never read. Retention does the opposite: it takes records before they are
read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request
from aiokafka.protocol.offset import OffsetRequest

from stream_app.core.messages import Mark, Partition
from stream_app.services.history.protocol import NONE, EpochEnd, TopicIds

EARLIEST, LATEST = -2, -1  # what ListOffsets calls them
LACKING = (IncompatibleBrokerVersion, NotImplementedError)  # the broker has no such request


@dataclass(frozen=True, slots=True)
class Parted:
    """Reading goes on at `to`, because the log went back or retention overtook the reader."""

    partition: Partition
    offset: int  # where the reader was
    to: int
    went_back: bool
    missed: int  # offsets that were deleted unread


class Topic(NamedTuple):
    """What the broker says of a topic."""

    topic_id: str
    leaders: dict[int, int]  # partition -> broker


Topics = dict[str, Topic]  # those that exist, by name


class BrokerLogs:
    """What brokers say of their logs."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    async def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The ids of the topics that exist; none where the broker has no ids. Raises KafkaError."""
        return ids_of(await self.topics(topics))

    async def leader(self, partition: Partition) -> int:
        """The broker to ask about a partition. Raises KafkaError."""
        return self._leader(partition, await self.topics([partition.topic]))

    async def start(self, partition: Partition, topics: Topics | None) -> int:
        """Where a partition begins. Raises KafkaError."""
        return await self._offset(partition, EARLIEST, self._leader(partition, topics))

    async def end(self, partition: Partition, topics: Topics | None) -> int:
        """Where a partition ends; the embedded broker says where its last batch begins. Raises
        KafkaError."""
        return await self._offset(partition, LATEST, self._leader(partition, topics))

    async def parted(
        self, partition: Partition, offset: int, mark: Mark, topics: Topics | None = None
    ) -> Parted | None:
        """Where reading has to go on, if not at the offset. `topics` is what was said of them just
        now: asked for each of a thousand partitions, it would take a minute. Raises KafkaError."""
        topics = topics or await self.topics([partition.topic])
        leader = self._leader(partition, topics)
        start = await self._offset(partition, EARLIEST, leader)
        if topics and mark.topic_id not in (None, topics[partition.topic].topic_id):
            return Parted(partition, offset, start, True, missed=start)
        if offset < start:
            return Parted(partition, offset, start, False, start - offset)
        try:
            reached = await self._epoch_end(partition, mark.epoch or 0, leader)
        except LACKING:
            return None  # such a broker, the embedded one, does not say exactly where a log ends
        if mark.epoch is None:
            end = await self._offset(partition, LATEST, leader)
            reached = offset if offset <= end else None
        if reached is None:  # no telling where they part
            return Parted(partition, offset, start, True, missed=0)
        if reached < offset:
            return Parted(partition, offset, max(reached, start), True, max(0, start - reached))
        return None

    async def topics(self, names: Iterable[str]) -> Topics | None:
        """Those that exist; None where the broker gives topics no ids. Raises KafkaError."""
        node = self._client.get_random_node()
        try:
            answer = await self._client.send(node, TopicIds(sorted(names)))
        except LACKING:
            return None
        found = {}
        for error, name, topic_id, _, partitions, *_ in answer.topics:
            if not error:
                found[name] = Topic(topic_id, {number: lead for _, number, lead, *_ in partitions})
        return found

    def _leader(self, partition: Partition, topics: Topics | None) -> int:
        if topics is None:
            leader = self._client.cluster.leader_for_partition(TopicPartition(*partition))
        else:
            topic = topics.get(partition.topic)
            leader = None if topic is None else topic.leaders.get(partition.number)
        if leader is None:
            raise UnknownTopicOrPartitionError(str(partition))
        if leader == NONE:
            raise LeaderNotAvailableError(str(partition))
        return int(leader)

    async def _epoch_end(self, partition: Partition, epoch: int, leader: int) -> int | None:
        """Where an epoch ended; None for one that this log never had."""
        error, _, found, end = await self._ask(leader, EpochEnd(*partition, epoch))
        check(error)
        return None if NONE in (found, end) else int(end)

    async def _offset(self, partition: Partition, which: int, leader: int) -> int:
        topics = [(partition.topic, [(partition.number, which)])]
        _, error, *rest = await self._ask(leader, OffsetRequest(NONE, 0, topics))
        check(error)
        return int(rest[-1])

    async def _ask(self, leader: int, request: Request[Any]) -> Any:
        """What the broker says of the one partition that the request names."""
        answer = await self._client.send(leader, request)
        return answer.topics[0][1][0]


def ids_of(topics: Topics | None) -> dict[str, str]:
    """The ids of topics by name; none where the broker has no ids."""
    return {name: topic.topic_id for name, topic in (topics or {}).items()}


def check(code: int) -> None:
    """Raises the KafkaError that a broker's code stands for, but for 0."""
    if code:
        raise for_code(code)
