"""What a sink holds of its partitions: it grows, waits, is given up, and knows what it missed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError

from stream_app.sinks import batch as module
from stream_app.sinks.batch import Batch

TP = TopicPartition("mail.labels", 0)
OURS = "winnow:AAAAAAAAAAAAAAAAAAAAAQ:"


class Consumer:
    """As much of kafka-python's as a batch asks for; polls give what `coming` holds."""

    def __init__(self) -> None:
        self.coming: list[int] = []
        self.committed_at: OffsetAndMetadata | None = None
        self.topic_id: UUID | None = UUID(int=1)
        self._cluster = SimpleNamespace(topic_id=lambda topic: self.topic_id)
        self._subscription = SimpleNamespace(all_consumed_offsets=lambda: {TP: self.reached})
        self.reached = OffsetAndMetadata(0, "", 3)
        self.sought: list[int] = []
        self.start = 0
        self.stopped: set[TopicPartition] = set()
        self.commits: list[Any] = []

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        now, self.coming = self.coming[:max_records], self.coming[max_records:]
        records = [SimpleNamespace(offset=n, topic=TP.topic, timestamp=1000) for n in now]
        if now and not self.stopped:
            self.reached = OffsetAndMetadata(now[-1] + 1, "", 3)
        return {} if self.stopped or not records else {TP: records}

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    def paused(self) -> set[TopicPartition]:
        return self.stopped

    def pause(self, *partitions: TopicPartition) -> None:
        self.stopped |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.stopped -= set(partitions)

    def committed(self, partition: TopicPartition, metadata: bool) -> OffsetAndMetadata | None:
        return self.committed_at

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append(offset)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.start)

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.commits.append(offsets)
        self.committed_at = offsets[TP]


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that stands until it is told to go on."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def offsets(batch: Batch) -> list[int]:
    return [record.offset for record in batch.records]


def test_it_grows_up_to_its_size_while_it_waits(consumer: Consumer, clock: SimpleNamespace):
    batch = Batch(consumer, most=5)
    consumer.coming = list(range(8))
    batch.poll()
    assert batch.is_due
    batch.put_off(0)
    consumer.coming = [5, 6]
    batch.poll()
    assert offsets(batch) == [0, 1, 2, 3, 4]
    assert consumer.stopped == {TP}  # but it still polls, and so stays in the group
    assert not batch.is_due
    clock.seconds += 1
    batch.commit()
    assert (len(consumer.commits), consumer.stopped, batch.records) == (1, set(), [])


def test_each_failure_doubles_the_wait_up_to_a_minute(consumer: Consumer, clock: SimpleNamespace):
    batch = Batch(consumer, most=5)
    consumer.coming = [0]
    batch.poll()
    waits = []
    for _ in range(10):
        batch.put_off(0)
        begun = clock.seconds
        while not batch.is_due:
            clock.seconds += 0.25
        waits.append(clock.seconds - begun)
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    batch.put_off(300)  # who refused may say how long
    clock.seconds += 299
    assert not batch.is_due


def test_a_rebalance_gives_it_up(consumer: Consumer, clock: SimpleNamespace):
    batch = Batch(consumer, most=2)
    batch.on_partitions_assigned([TP])
    consumer.coming = [0, 1]
    batch.poll()
    batch.put_off(60)
    batch.poll()
    batch.on_partitions_revoked([TP])
    assert (batch.records, batch.joined, consumer.stopped) == ([], False, set())
    consumer.coming = [0, 1]
    batch.poll()
    assert batch.is_due


def test_a_commit_that_a_rebalance_overtook_is_no_failure(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
):
    def commit(offsets: object) -> None:
        raise CommitFailedError

    monkeypatch.setattr(consumer, "commit", commit)
    batch = Batch(consumer, most=2)
    consumer.coming = [0]
    batch.poll()
    batch.commit()
    assert batch.records == []


@pytest.mark.parametrize(
    ("committed", "start", "first", "missed"),
    [
        (None, 40, 40, 0),  # a group that begins
        (10, 0, 10, 0),
        (10, 0, 11, 0),  # a transaction's marker
        (10, 0, 30, 0),  # compacted, or aborted: nothing that was to be read
        (10, 40, 40, 30),  # deleted by retention
        (10, 40, 45, 30),
    ],
)
def test_what_retention_deleted_unread_is_counted(
    consumer: Consumer, committed: int | None, start: int, first: int, missed: int
):
    consumer.start = start
    if committed is not None:
        consumer.committed_at = OffsetAndMetadata(committed, OURS, -1)
    consumer.coming = [first, first + 1]
    batch = Batch(consumer, most=5)
    assert batch.poll() == missed
    consumer.coming, consumer.start = [first + 2], first + 2
    assert batch.poll() == 0


def test_a_topic_that_is_made_again_under_it_is_read_from_its_beginning(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
):
    """Its first labels had offsets that were read of the one before."""
    batch = Batch(consumer, most=5)
    consumer.committed_at = OffsetAndMetadata(4, OURS, -1)
    consumer.coming = [4, 5]
    batch.poll()
    consumer.topic_id = UUID(int=0)  # deleted, and not there yet
    batch.poll()
    batch.commit()
    assert consumer.commits == [{TP: OffsetAndMetadata(6, OURS, 3)}]
    consumer.topic_id = UUID(int=2)
    batch.poll()
    assert consumer.sought == [0]
    assert "topic mail.labels was made again: partition 0" in caplog.text
    consumer.coming = [0, 1]
    assert batch.poll() == 0
    assert offsets(batch) == [0, 1]


def test_a_topic_that_was_made_again_meanwhile_is_read_from_its_beginning(consumer: Consumer):
    consumer.committed_at = OffsetAndMetadata(6, OURS, -1)
    consumer.topic_id = UUID(int=2)
    consumer.coming = [6, 7]
    batch = Batch(consumer, most=5)
    batch.poll()
    assert (batch.records, consumer.sought) == ([], [0])


def test_an_offset_that_the_broker_forgot_meanwhile_is_no_beginning(consumer: Consumer):
    """kafka-python had it of the topic before, which was deleted; what is polled is behind it."""
    consumer.coming = [6, 7]
    batch = Batch(consumer, most=5)
    assert batch.poll() == 0
    assert (batch.records, consumer.sought) == ([], [0])
    consumer.coming = [2, 3]  # the first ones were compacted
    assert batch.poll() == 0
    assert (offsets(batch), consumer.sought) == ([2, 3], [0])


@pytest.mark.parametrize(("metadata", "told"), [("", True), (None, False), (OURS, False)])
def test_offsets_that_an_administrator_moved_are_told(
    consumer: Consumer, caplog: pytest.LogCaptureFixture, metadata: str | None, told: bool
):
    consumer.committed_at = OffsetAndMetadata(6, metadata, -1)
    consumer.coming = [6, 7]
    batch = Batch(consumer, most=5)
    batch.poll()
    assert ("goes on at offset 6" in caplog.text) == told
    assert offsets(batch) == [6, 7]
