"""The guarded fetch: no record reaches the stream before its log is known to be the one it was.

Each fetch names the topic's id and the leader epoch of the record before its offset (Apache Kafka
3.1 and later). A broker whose log went back, or whose topic is another, sends no records then, and
says so. Older brokers, and the embedded one, tell only that an offset is out of range; aiokafka
would start again by `auto_offset_reset`, without a word.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.api import Request
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11

from stream_app.core.messages import Partition
from stream_app.services.history.marks import Marks
from stream_app.services.history.protocol import EPOCH_API, NONE, TAGS, FetchRequestById
from stream_app.services.reading.header_names import readable

OUT_OF_RANGE, UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID, OTHER_TOPIC_ID = 1, 3, 100, 103  # error codes
WAIT_SECONDS = 0.05  # before the next fetch, where this one cannot bring anything
_BATCH = struct.Struct(">qiib")  # base offset, length, partition leader epoch, magic
_OVERHEAD = 12  # bytes of a batch before those that its length counts

Asked = list[tuple[str, list[tuple[int, int, int]]]]  # topic, (partition, offset, max bytes)
Answered = tuple[Any, ...]  # partition, error, highwater, stable, start, aborted, replica, records


class GuardedFetch:
    """Stands between aiokafka's fetcher and its client. In the consumer's thread."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        marks: Marks,
        doubted: Callable[[Partition, int], Awaitable[None]],
    ) -> None:
        """`doubted` is told of a partition and offset that the broker no longer knows as we do; it
        may move the partition or stop it. Raises KafkaError where the broker does not answer."""
        self._send = consumer._client.send
        self._subscriptions = consumer._subscription
        self._marks = marks
        self._doubted = doubted
        self.unreadable: set[Partition] = set()  # with a header name that is not UTF-8

    async def send(
        self,
        node_id: int,
        request: Request[Any],
        *,
        group: ConnectionGroup = ConnectionGroup.DEFAULT,
    ) -> Any:
        """What AIOKafkaClient.send does; a fetch is guarded."""
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, group=group)
        begun = self._begun(request.topics)
        if not begun:
            await asyncio.sleep(WAIT_SECONDS)
            return FetchResponse_v11(0, 0, 0, [])
        fetch = _Fetch(request, begun, self._marks)
        answer = fetch.read(await self._send(node_id, fetch, group=group))
        offsets = {(topic, p): offset for topic, asked in begun for p, offset, _ in asked}
        checked = []
        for topic, partitions in answer.topics:
            passed = [
                await self._checked(Partition(topic, p[0]), offsets[topic, p[0]], p)
                for p in partitions
            ]
            checked.append((topic, passed))
        answer.topics = checked
        return answer

    def _begun(self, topics: Asked) -> Asked:
        """The partitions whose log was looked at; the others wait."""
        subscription = self._subscriptions.subscription
        assignment = None if subscription is None else subscription.assignment
        begun = [
            (topic, [p for p in asked if self._marks.knows(Partition(topic, p[0]), assignment)])
            for topic, asked in topics
        ]
        return [(topic, asked) for topic, asked in begun if asked]

    async def _checked(self, partition: Partition, offset: int, answered: Answered) -> Answered:
        """A partition's part of the answer, emptied where its log is in doubt."""
        _, error, *_, records = answered
        if not error and not isinstance(records, _Diverged):
            self._marks.fetched(partition, _epochs(records or b""))
            if records and partition in self.unreadable:
                self.unreadable.discard(partition)
                return (*answered[:-1], readable(records))
            return answered
        if error and error not in (OUT_OF_RANGE, UNKNOWN_TOPIC_ID, OTHER_TOPIC_ID):
            return answered
        try:
            await self._doubted(partition, offset)
        except UnknownTopicOrPartitionError:  # deleted; aiokafka asks for metadata until it is back
            return (partition.number, UNKNOWN_TOPIC, *answered[2:-1], b"")
        await asyncio.sleep(WAIT_SECONDS)
        return (partition.number, 0, *answered[2:-1], b"")


class _Diverged(bytes):
    """In place of records: the log left the fetcher's."""


class _Fetch(FetchRequest):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's fetch of some partitions, by id and epoch where the broker knows both."""

    def __init__(self, asked: FetchRequest, topics: Asked, marks: Marks) -> None:
        super().__init__(
            asked._max_wait_ms,
            asked._min_bytes,
            asked._max_bytes,
            asked._isolation_level,
            topics,
            asked._rack_id,
        )
        self._marks = [
            (topic, p[0], marks.before(Partition(topic, p[0]), p[1]))
            for topic, partitions in topics
            for p in partitions
        ]

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """The request for a broker with these versions."""
        _, newest = versions.get(FetchRequest.API_KEY, (0, 0))
        ids = {topic: mark.topic_id for topic, _, mark in self._marks}
        if (
            newest < FetchRequestById.API_VERSION
            or EPOCH_API not in versions
            or None in ids.values()
        ):
            return super().prepare(versions)
        return self._by_id({topic: topic_id or "" for topic, topic_id in ids.items()})

    def _by_id(self, ids: dict[str, str]) -> FetchRequestById:
        epochs = {(topic, p): mark.epoch for topic, p, mark in self._marks}
        self._names = {topic_id: topic for topic, topic_id in ids.items()}
        topics = []
        for topic, partitions in self._topics:
            asked = []
            for number, offset, max_bytes in partitions:
                epoch = epochs[topic, number]
                last = NONE if epoch is None else epoch
                asked.append((number, NONE, offset, last, NONE, max_bytes, TAGS))
            topics.append((ids[topic], asked, TAGS))
        return FetchRequestById(
            NONE,
            self._max_wait_ms,
            self._min_bytes,
            self._max_bytes,
            self._isolation_level,
            0,  # no fetch session
            NONE,
            topics,
            [],
            self._rack_id,
            TAGS,
        )

    def read(self, answer: Any) -> Any:
        """The answer as aiokafka reads it."""
        if answer.API_VERSION != FetchRequestById.API_VERSION:
            return answer
        topics = []
        for topic_id, partitions, _ in answer.topics:
            read = []
            for *head, aborted, replica, records, tags in partitions:
                known = [(producer, first) for producer, first, _ in aborted or ()]
                found = _Diverged() if 0 in tags else records
                read.append((*head, known, replica, found))
            topics.append((self._names[topic_id], read))
        return FetchResponse_v11(answer.throttle_time_ms, answer.error_code, 0, topics)


def _epochs(records: bytes) -> Iterator[tuple[int, int]]:
    """(first offset, leader epoch) of each whole batch of the current format."""
    at, end = 0, len(records)
    while at + _BATCH.size <= end:
        offset, length, epoch, magic = _BATCH.unpack_from(records, at)
        at += _OVERHEAD + length
        if at <= end and magic >= 2:
            yield offset, epoch
