"""What a member of a consumer group holds: records polled and not yet committed."""

from __future__ import annotations

import logging
import time
from typing import Any

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError

from stream_app.core.backoff import Backoff
from stream_app.core.logs import EACH
from stream_app.core.messages import Mark
from stream_app.kafka.reading import topic_id_of
from stream_app.services.history.marks import ours, read, written

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RETRY_SECONDS = 0.25, 60.0  # at first, at the longest


class Batch(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Grows while it cannot be written, up to `most` records, and is given up in a rebalance:
    whoever owns its partitions then reads them from the last commit, in case this member again.

    Each commit has the topic's id beside it. A topic that was made again is read from its
    beginning.
    """

    def __init__(self, consumer: Any, most: int) -> None:
        self._consumer = consumer
        self._most = most
        self._backoff = Backoff(*RETRY_SECONDS)
        self._due = 0.0  # when to write it, on the monotonic clock
        self._next: dict[TopicPartition, int] = {}  # the offset expected of each partition
        self._ids: dict[TopicPartition, str | None] = {}  # of the topic that it is in
        self._ends: dict[TopicPartition, int] = {}  # where partitions ended when it looked first
        self.records: list[Any] = []
        self.joined = False

    def poll(self) -> int:
        """Add what comes within a second; how many offsets before it retention deleted unread."""
        room = self._most - len(self.records)
        wait = min(POLL_SECONDS, max(0.0, self._due - time.monotonic()) if self.records else 1.0)
        if not room:
            self._consumer.pause(*self._consumer.assignment())
        for partition in [*self._next]:
            self._look(partition)
        polled = self._consumer.poll(timeout_ms=int(wait * 1000), max_records=max(1, room))
        return sum(self._take(*found) for found in polled.items() if self._resume(*found))

    @property
    def is_due(self) -> bool:
        """Whether to write it now."""
        return bool(self.records) and time.monotonic() >= self._due

    @property
    def age(self) -> float:
        """Seconds since its oldest record was written; 0 without records."""
        oldest = min((record.timestamp for record in self.records), default=None)
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000)

    def put_off(self, seconds: float) -> None:
        """It could not be written: not again before `seconds`, or what its failures ask for."""
        self._due = time.monotonic() + max(self._backoff.failed(), seconds)

    def commit(self) -> None:
        """It is written. Raises KafkaError, but not where a rebalance came first."""
        try:
            reached = self._consumer._subscription.all_consumed_offsets()
            self._consumer.commit(
                {
                    tp: OffsetAndMetadata(at.offset, written(Mark(self._ids[tp])), at.leader_epoch)
                    for tp, at in reached.items()
                    if tp in self._next
                }
            )
        except CommitFailedError:
            log.info("a rebalance came before the commit: %d records again", len(self.records))
        self._begin()

    def at_end(self) -> bool:
        """Whether all is committed that its partitions held when it looked first."""
        consumer, owned = self._consumer, list(self._consumer.assignment())
        if not self.joined or self.records:
            return False
        for tp in owned:
            seen = consumer.highwater(tp)  # the end as a fetch has it: `end_offsets` may be too low
            if seen is None:
                return False
            self._ends.setdefault(tp, seen)
        return all((consumer.position(tp) or 0) >= self._ends[tp] for tp in owned)

    def lags(self) -> dict[str, int]:
        """By topic, how many offsets of the partitions owned are not committed."""
        consumer = self._consumer
        owned = list(consumer.assignment())
        found = dict.fromkeys((tp.topic for tp in owned), 0)
        for tp, end in (consumer.end_offsets(owned) if owned else {}).items():
            # the embedded broker says the end too low until it is asked for records
            end = max(end, consumer.highwater(tp) or 0)
            found[tp.topic] += max(0, end - (consumer.position(tp) or 0))
        for record in self.records:
            found[record.topic] += 1
        return found

    def on_partitions_revoked(self, revoked: Any) -> None:
        """The next poll has what was not committed, here or at another member."""
        self.joined = False
        self._next.clear()
        self._begin()

    def on_partitions_assigned(self, assigned: Any) -> None:
        """Reading goes on."""
        self.joined = True

    def _begin(self) -> None:
        self.records, self._due = [], 0.0
        self._backoff.succeeded()
        self._consumer.resume(*self._consumer.paused())

    def _look(self, partition: TopicPartition) -> bool:
        """Whether the topic is the one that was read; else its partition is read from its start."""
        topic_id = topic_id_of(self._consumer, partition.topic)
        if None in (topic_id, self._ids[partition]) or topic_id == self._ids[partition]:
            return True
        log.error(
            "topic %s was made again: partition %d is read from its beginning",
            partition.topic,
            partition.partition,
            extra=EACH,
        )
        self._ids[partition] = topic_id
        self._go_to(partition, self._start(partition))
        return False

    def _resume(self, partition: TopicPartition, records: list[Any]) -> bool:
        """Whether what was polled goes on from the last commit, where it is the first."""
        if partition in self._next:
            return True
        self._ids[partition] = topic_id_of(self._consumer, partition.topic)
        committed = self._consumer.committed(partition, metadata=True)
        if committed is None:
            # A broker forgets the offsets of a topic some time after it deletes it. kafka-python
            # may have asked before, and be where the topic of that name was read to.
            start = self._start(partition)
            if records[0].offset <= start:
                return True
            self._go_to(partition, start)
            return False
        self._next[partition] = committed.offset
        if committed.metadata is not None and not ours(committed.metadata) and committed.offset:
            log.warning(
                "topic %s, partition %d goes on at offset %d, which no sink of this version "
                "committed: what an administrator moved the group over is not written",
                partition.topic,
                partition.partition,
                committed.offset,
                extra=EACH,
            )
        self._ids[partition] = read(committed.metadata).topic_id or self._ids[partition]
        return self._look(partition)

    def _take(self, partition: TopicPartition, records: list[Any]) -> int:
        """Add a partition's records; how many offsets before them were deleted before they were
        read: kafka-python passes over them."""
        self.records += records
        first, expected = records[0].offset, self._next.get(partition)
        self._next[partition] = records[-1].offset + 1
        if expected is None or first - expected <= 1:  # one may be a transaction's marker
            return 0
        return int(max(0, min(first, self._start(partition)) - expected))

    def _go_to(self, partition: TopicPartition, offset: int) -> None:
        self._consumer.seek(partition, offset)
        self._next[partition] = offset

    def _start(self, partition: TopicPartition) -> int:
        return int(self._consumer.beginning_offsets([partition])[partition])
