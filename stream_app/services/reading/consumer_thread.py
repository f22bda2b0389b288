"""The consumer's own thread and event loop: what it asks of the broker, besides Faust's part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    KafkaError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_app.core.errors import BrokerError
from stream_app.core.messages import UNMARKED, Mark, Partition
from stream_app.pipeline.ack import AckTracker
from stream_app.services.history.beginning import Beginning
from stream_app.services.history.marks import Marks, read, written
from stream_app.services.history.parting import BrokerLogs, Topics, ids_of
from stream_app.services.history.report import Report
from stream_app.services.reading.commit import RETRY_SECONDS, commit_now
from stream_app.services.reading.fetch import GuardedFetch

T = TypeVar("T")

FETCH_WAIT_MS = 50
REQUEST_SECONDS = 20.0  # for one answer of the broker, where the session timeout is not longer
# what ends a worker, where waiting would not help
REFUSALS = {
    GroupAuthorizationFailedError: "the broker does not let us read as group {group}: grant Read",
    InconsistentGroupProtocolError: "another service in group {group} deals partitions out by "
    'another rule than "roundrobin": give each service a kafka.group_id of its own',
}


@dataclass(frozen=True, slots=True)
class Guards:
    """What the consumer asks of the worker."""

    acks: AckTracker
    marks: Marks
    settle: Callable[[], Awaitable[None]]  # await deliveries under way
    revoked: Callable[[], None]  # drop the other records in flight
    report: Report  # of reading that goes on elsewhere
    transactional: frozenset[str] = frozenset()  # topics whose offsets travel with their labels
    begin_late: bool = False  # whether a group that is new to a topic begins at its end


class GuardedThread(driver.AIOKafkaConsumerThread):
    """Faust's, with a shorter fetch (a constant in its source), a request's own timeout, and an eye
    on the log."""

    def __init__(self, *args: Any, guards: Guards, **kwargs: Any) -> None:
        self._guards = guards
        self._told: set[Partition] = set()  # logs that went back; the next assignment is to follow
        super().__init__(*args, **kwargs)

    async def on_start(self) -> None:
        """Faust's. From then on a group that refuses us ends the worker: aiokafka would wait for
        somebody to fetch, and in a rebalance nobody does."""
        await super().on_start()
        self._ensure_consumer()._coordinator._push_error_to_user = self._refused

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # read when the consumer starts
        seconds = max(REQUEST_SECONDS, transport.app.conf.broker_session_timeout + 5)
        # Faust has one setting for a request and for a whole recovery, which must not time out
        consumer._request_timeout_ms = consumer._client._request_timeout_ms = int(seconds * 1000)
        self._logs = BrokerLogs(consumer._client)
        self._beginning = Beginning(consumer, self._logs)
        self._fetch = GuardedFetch(consumer, self._guards.marks, self._doubted)
        consumer._client.send = self._fetch.send
        return consumer

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **how: Any) -> Any:
        """Faust's. Where aiokafka ends on a header's name, all is fetched again, made readable."""
        subscription = consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return await super()._fetch_records(consumer, *args, **how)
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        before = {tp: state.position for tp, state in states.items() if state.has_valid_position}
        try:
            return await super()._fetch_records(consumer, *args, **how)
        except UnicodeDecodeError:
            if assignment.active:
                for tp, position in before.items():
                    self._fetch.unreadable.add(Partition(*tp))
                    consumer.seek(tp, position)  # what other partitions gave is lost with it
            return {}

    def _refused(self, error: KafkaError) -> Awaitable[object]:
        coordinator = self._ensure_consumer()._coordinator
        why = REFUSALS.get(type(error))
        reason = BrokerError(why.format(group=coordinator.group_id)) if why else error
        asyncio.run_coroutine_threadsafe(self.consumer.crash(reason), self.parent_loop)
        return asyncio.wait([coordinator._closing])

    async def before_rebalance(self) -> None:
        """See Beginning. Raises KafkaError."""
        if self._guards.begin_late:
            await self.call_thread(self._beginning.before_rebalance)

    async def resume(self, first: Mapping[TP, tuple[int, Mark]]) -> dict[TP, int | None]:
        """Seek every partition to its committed offset, or without one to the first fetched or to
        the group's beginning; where the log is another, to where the two part. Returns where those
        with an offset went."""
        found: dict[TP, int | None] = await self.call_thread(self._resume, first)
        return found

    async def look(self) -> set[str]:
        """Find topics that are others by now, as a fetch by id does, and return those that the
        broker does not let us read. Raises KafkaError."""
        refused: set[str] = await self.call_thread(self._look)
        return refused

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets, each with the mark of its log beside it; False if it has to wait."""
        done: bool = await self.call_thread(self._commit_marked, offsets)
        return done

    async def _resume(self, first: Mapping[TP, tuple[int, Mark]]) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        assignment = consumer._subscription.subscription.assignment
        self._guards.marks.start(assignment)
        while assignment.active:
            try:
                committed = await consumer._coordinator.fetch_committed_offsets(
                    list(assignment.tps)
                )
                topics = await self._logs.topics({tp.topic for tp in assignment.tps})
                begun = await self._begin(assignment, committed, topics)
            except KafkaError as error:
                if not error.retriable:
                    raise
                begun = None
            if begun is None:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._guards.report.moved(committed)
            self._guards.report.begun(begun)
            committed |= begun
            places = {}
            for tp in assignment.tps:
                if topics and tp.topic not in topics:
                    continue  # deleted: once it is back there will be a rebalance
                start = first.get(TP(*tp))
                if tp in committed:
                    start = committed[tp].offset, read(committed[tp].metadata)
                places[tp] = self._place(assignment, Partition(*tp), start, topics)
            reached = dict(zip(places, await asyncio.gather(*places.values()), strict=True))
            return {TP(*tp): reached[tp] if tp in committed else None for tp in reached}
        return {}  # another rebalance took over, and brings its own seek

    async def _begin(
        self, assignment: Any, committed: Mapping[Any, object], topics: Topics | None
    ) -> dict[Any, OffsetAndMetadata] | None:
        """The offsets of partitions that begin now at their end, committed; None to try again.
        Raises KafkaError."""
        if not self._guards.begin_late:
            return {}
        there = [tp for tp in assignment.tps if not topics or tp.topic in topics]
        ends = await self._beginning.ends([tp for tp in there if tp not in committed], topics)
        if ends and not await commit_now(self._ensure_consumer(), ends):
            return None
        self._beginning.begun({tp.topic for tp in assignment.tps})
        return ends

    async def _place(
        self,
        assignment: Any,
        partition: Partition,
        start: tuple[int, Mark] | None,
        topics: Topics | None,
    ) -> int | None:
        """Seek to where reading of a partition goes on: `start`, or where its log parts from the
        one that is there now. Without a `start` that is its beginning, whatever aiokafka was told
        before: a broker forgets the offsets of a topic some time after it deletes it."""
        offset: int | None
        known, parted = self._guards.marks.knows(partition, assignment), None
        if start is None:
            ask = partial(self._logs.start, partition)
            offset, mark = await self._ask(assignment, ask, topics), UNMARKED
        else:
            offset, mark = start
            doubt = partial(self._logs.parted, partition, offset, mark)
            parted = await self._ask(assignment, doubt, topics)
        if not assignment.active:
            return None
        if parted is not None:
            if partition not in self._told:
                self._guards.report.parted(parted)
            if known:
                self._forget_by_rejoining(partition)
                return None
            offset, mark = parted.to, UNMARKED
        self._told.discard(partition)
        if not known:
            topic_id = ids_of(topics).get(partition.topic)
            self._guards.marks.begin(partition, Mark(topic_id, mark.epoch))
        if offset is not None:
            self._ensure_consumer().seek(TopicPartition(*partition), offset)
        return offset

    def _forget_by_rejoining(self, partition: Partition) -> None:
        """Read no more of a partition until there is a new assignment, which alone forgets what was
        read of the log before: what is acked of it must not be committed as of the new one."""
        consumer = self._ensure_consumer()
        self._told.add(partition)
        consumer.pause(TopicPartition(*partition))
        consumer._coordinator.request_rejoin()

    async def _ask(
        self,
        assignment: Any,
        question: Callable[[Topics | None], Awaitable[T]],
        topics: Topics | None,
    ) -> T | None:
        """What the broker answers about a log, asked until it does. None for what is gone."""
        while assignment.active:
            try:
                return await question(topics)
            except UnknownTopicOrPartitionError:
                break  # deleted just now
            except KafkaError as error:
                if not error.retriable:
                    raise
                topics = None  # ask again
                await self._ensure_consumer()._client.force_metadata_update()
                await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _doubted(self, partition: Partition, offset: int) -> None:
        """A fetch from this offset found another log than before, or nothing there."""
        consumer, tp = self._ensure_consumer(), TopicPartition(*partition)
        assignment = consumer._subscription.subscription.assignment
        mark = self._guards.marks.before(partition, offset)
        parted = await self._logs.parted(partition, offset, mark)
        begun = assignment.active and self._guards.marks.knows(partition, assignment)
        if parted is None or not begun:
            return  # the broker has caught up, or a new assignment looks for itself
        self._guards.report.parted(parted)
        if parted.went_back:
            self._forget_by_rejoining(partition)
        else:
            consumer.seek(tp, parted.to)

    async def _look(self) -> set[str]:
        consumer = self._ensure_consumer()
        # who leads the group also asks about topics of its other members
        refused: set[str] = consumer._client.cluster.unauthorized_topics & consumer.subscription()
        partitions = [Partition(*tp) for tp in self.assignment()]
        topics = {partition.topic for partition in partitions}
        ids = await self._logs.topic_ids(topics) if topics else {}
        for partition in partitions:
            mark = self._guards.marks.at(partition, 0)
            other = ids.get(partition.topic, mark.topic_id) != mark.topic_id
            if other and mark.topic_id and partition not in self._told:
                offset = await consumer.position(TopicPartition(*partition))
                await self._doubted(partition, offset)
        return refused

    async def _commit_marked(self, offsets: Mapping[TP, int]) -> bool:
        marks, assigned = self._guards.marks, self.assignment()
        marked = {
            TopicPartition(*tp): OffsetAndMetadata(
                offset, written(marks.before(Partition(*tp), offset))
            )
            for tp, offset in offsets.items()
            if tp in assigned
        }
        return await commit_now(self._ensure_consumer(), marked)
