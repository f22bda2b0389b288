"""Which log an offset belongs to: what is kept of it, and what brokers are asked and answer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import LeaderNotAvailableError, UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as Builder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.messages import UNMARKED, Mark, Partition
from stream_app.core.metrics import Metrics
from stream_app.services.history.marks import Marks, read, written
from stream_app.services.history.parting import BrokerLogs, Parted
from stream_app.services.history.protocol import (
    EpochEnd,
    EpochEndResponse,
    FetchRequestById,
    FetchResponseById,
    MetadataResponseWithIds,
    TopicIds,
)
from stream_app.services.history.report import Report
from stream_app.services.reading.fetch import GuardedFetch, _epochs
from stream_app.services.reading.header_names import readable

P0 = Partition("mail", 0)
OLD, NEW = "AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg"
ASSIGNMENT = object()


@pytest.mark.parametrize("mark", [UNMARKED, Mark(OLD, 0), Mark(OLD), Mark(None, 7)])
def test_a_mark_is_kept_beside_a_committed_offset(mark: Mark) -> None:
    assert read(written(mark)) == mark


@pytest.mark.parametrize(
    "metadata", [None, "", "7 9-12", "winnow:x:1", "winnow::-1", "winnow::1\n"]
)
def test_what_others_wrote_there_means_nothing(metadata: str | None) -> None:
    assert read(metadata) == UNMARKED


def test_marks_follow_the_epochs_of_what_was_fetched() -> None:
    marks = Marks()
    marks.start(ASSIGNMENT)
    assert not marks.knows(P0, ASSIGNMENT)
    marks.begin(P0, Mark(OLD, 3))
    marks.fetched(P0, [(100, 3), (200, 5), (300, -1)])
    marks.fetched(P0, [(150, 3), (200, 5)])  # again
    assert [marks.at(P0, n).epoch for n in (0, 199, 200, 400)] == [3, 3, 5, 5]
    assert marks.before(P0, 200) == Mark(OLD, 3)
    assert marks.knows(P0, ASSIGNMENT)
    marks.start(ASSIGNMENT)
    assert marks.at(P0, 400) == Mark(OLD, 5), "a second seek forgets nothing"
    marks.start(object())
    assert not marks.knows(P0, ASSIGNMENT)
    assert marks.at(P0, 400) == UNMARKED


class Broker:
    """Answers as Kafka does: one partition, its epochs by where they begin."""

    def __init__(
        self,
        topic_id: str = OLD,
        start: int = 0,
        end: int = 1000,
        epochs: Mapping[int, int] | None = None,
        leader: int = 1,
    ) -> None:
        self.topic_id, self.start, self.end, self.leader = topic_id, start, end, leader
        self.epochs = {0: 0} if epochs is None else epochs
        self.lacks: type | None = None
        self.cluster = self

    def get_random_node(self) -> int:
        return 1

    def leader_for_partition(self, _: object) -> int:
        return self.leader

    async def send(self, _: int, request: Any) -> Any:
        if self.lacks is not None and isinstance(request, self.lacks):
            raise NotImplementedError
        if isinstance(request, TopicIds):
            known = [(0, 0, self.leader, 0, [], [], [], {})] if self.topic_id else []
            error = 0 if self.topic_id else 3
            topics = [(error, "mail", self.topic_id or OLD, False, known, 0, {})]
            return MetadataResponseWithIds(0, [], "", 1, topics, {})
        if isinstance(request, EpochEnd):
            [(_, _, epoch)] = request._asked[1]
            return EpochEndResponse(0, [("mail", [(0, 0, *self.ended(epoch))])])
        assert isinstance(request, OffsetRequest)
        [(_, [(_, which)])] = request._topics
        return Answer([("mail", [(0, 0, -1, self.start if which == -2 else self.end)])])

    def ended(self, epoch: int) -> tuple[int, int]:
        """As Kafka's LeaderEpochFileCache."""
        later = [begin for each, begin in self.epochs.items() if each > epoch]
        lower = [each for each in self.epochs if each <= epoch]
        if epoch == max(self.epochs):
            return epoch, self.end
        if not later:
            return -1, -1
        return max(lower, default=epoch), min(later)


class Answer:
    def __init__(self, topics: list[Any]) -> None:
        self.topics = topics


@pytest.mark.parametrize(
    ("broker", "offset", "mark", "expected"),
    [
        (Broker(), 1000, Mark(OLD, 0), None),
        (Broker(), 1000, UNMARKED, None),
        (Broker(epochs={0: 0, 4: 1000}, end=1200), 1000, Mark(OLD, 0), None),
        (Broker(epochs={0: 0, 4: 500}, end=1200), 1000, Mark(OLD, 0), (500, True, 0)),
        (Broker(epochs={0: 0, 4: 500}, end=1200, start=700), 1000, Mark(OLD, 0), (700, True, 200)),
        (Broker(NEW), 700, Mark(OLD, 0), (0, True, 0)),
        (Broker(NEW, start=5), 700, Mark(OLD, 0), (5, True, 5)),
        (Broker(end=500), 1000, UNMARKED, (0, True, 0)),
        (Broker(epochs={2: 0}), 700, Mark(OLD, 9), (0, True, 0)),  # restored from an old copy
        (Broker(epochs={7: 0}, end=9), 700, Mark(OLD, 3), (0, True, 0)),  # an empty disk
        (Broker(start=900), 700, Mark(OLD, 0), (900, False, 200)),
        (Broker(start=900, epochs={3: 900}), 900, Mark(OLD, 1), None),
    ],
)
async def test_where_reading_goes_on(
    broker: Broker, offset: int, mark: Mark, expected: tuple[int, bool, int] | None
) -> None:
    found = await BrokerLogs(broker).parted(P0, offset, mark)
    assert found == (expected and Parted(P0, offset, *expected))


async def test_a_broker_without_epochs_says_no_exact_end() -> None:
    broker = Broker(end=990)
    broker.lacks = EpochEnd
    assert await BrokerLogs(broker).parted(P0, 1000, UNMARKED) is None
    assert await BrokerLogs(Broker(NEW)).topic_ids(["mail"]) == {"mail": NEW}
    broker.lacks = TopicIds  # an old one has epochs, and no ids
    assert await BrokerLogs(broker).topic_ids(["mail"]) == {}
    assert await BrokerLogs(broker).leader(P0) == 1


async def test_what_is_not_there_now() -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await BrokerLogs(Broker("")).parted(P0, 0, UNMARKED)
    with pytest.raises(LeaderNotAvailableError):
        await BrokerLogs(Broker(leader=-1)).parted(P0, 0, UNMARKED)


class Consumer:
    """What the guarded fetch sees of aiokafka's consumer: its client answers with `partition`."""

    def __init__(self, versions: dict[int, tuple[int, int]], answer: Callable[[Any], Any]) -> None:
        self.asked: list[Any] = []
        self._client = self._subscription = self.subscription = self
        self.assignment = ASSIGNMENT
        self._versions, self._answer = versions, answer

    async def send(self, _: int, request: Any, group: object = None) -> Any:
        struct_ = request.prepare(self._versions)
        self.asked.append(struct_)
        assert struct_.encode(), "what the schema says"
        return self._answer(struct_)


def batch(offset: int, epoch: int) -> bytes:
    return struct.pack(">qiib", offset, 5, epoch, 2)


def by_id(error: int, records: bytes, tags: dict[int, bytes]) -> Callable[[Any], Any]:
    partition = (0, error, 1000, 1000, 0, None, -1, records, tags)
    return lambda _: FetchResponseById(0, 0, 0, [(OLD, [partition], {})], {})


KAFKA, EMBEDDED = {1: (4, 18), 23: (2, 4)}, {1: (0, 17)}
ASKED = FetchRequest(50, 1, 1024, 0, [("mail", [(0, 700, 1024)]), ("other", [(0, 1, 1024)])])


async def guarded(
    consumer: Consumer,
    doubts: list[tuple[Partition, int]],
) -> tuple[Any, Marks]:
    marks = Marks()
    marks.start(ASSIGNMENT)
    marks.begin(P0, Mark(OLD, 3))

    async def doubted(partition: Partition, offset: int) -> None:
        doubts.append((partition, offset))

    return await GuardedFetch(consumer, marks, doubted).send(1, ASKED), marks


async def test_a_fetch_names_the_topic_and_the_epoch_before_it() -> None:
    records = batch(700, 3) + batch(710, 4) + b"cut off"
    consumer, doubts = Consumer(KAFKA, by_id(0, records, {})), []
    answer, marks = await guarded(consumer, doubts)
    [asked] = consumer.asked
    assert isinstance(asked, FetchRequestById)
    assert asked.topics == [(OLD, [(0, -1, 700, 3, -1, 1024, {})], {})], "the other is not begun"
    assert answer.topics == [("mail", [(0, 0, 1000, 1000, 0, [], -1, records)])]
    assert answer.API_VERSION == 11
    assert marks.at(P0, 710) == Mark(OLD, 4)
    assert doubts == []


@pytest.mark.parametrize(("error", "tags"), [(0, {0: b"\0" * 13}), (1, {}), (100, {}), (103, {})])
async def test_a_log_in_doubt_gives_no_records(error: int, tags: dict[int, bytes]) -> None:
    consumer, doubts = Consumer(KAFKA, by_id(error, batch(700, 9), tags)), []
    answer, marks = await guarded(consumer, doubts)
    assert [part[:2] + part[-1:] for part in answer.topics[0][1]] == [(0, 0, b"")]
    assert doubts == [(P0, 700)]
    assert marks.at(P0, 700) == Mark(OLD, 3)


async def test_other_errors_are_aiokafkas() -> None:
    consumer, doubts = Consumer(KAFKA, by_id(6, b"", {})), []
    answer, _ = await guarded(consumer, doubts)
    assert answer.topics[0][1][0][1] == 6
    assert doubts == []


async def test_a_broker_that_knows_no_epochs_is_asked_as_ever() -> None:
    partition = (0, 1, 1000, 1000, 0, [], -1, b"")
    consumer = Consumer(EMBEDDED, lambda _: FetchResponse_v11(0, 0, 0, [("mail", [partition])]))
    doubts: list[tuple[Partition, int]] = []
    await guarded(consumer, doubts)
    assert consumer.asked[0].API_VERSION == 11
    assert doubts == [(P0, 700)], "out of range is looked into there as well"


async def test_nothing_is_fetched_before_its_log_was_looked_at() -> None:
    consumer = Consumer(KAFKA, by_id(0, b"", {}))
    answer = await GuardedFetch(consumer, Marks(), lambda *_: None).send(1, ASKED)
    assert (answer.topics, consumer.asked) == ([], [])


class Unreadable(str):
    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def test_a_header_name_that_is_not_utf8_is_replaced_and_nothing_else() -> None:
    builder = Builder(2, 0, 0, -1, -1, -1, 2**20)
    for offset in (0, 3):
        builder.append(offset, 1000 + offset, b"k", None, [(Unreadable("x"), b"v"), ("y", None)])
    builder._last_offset = 9  # those behind were compacted away
    bad = bytearray(builder.build())
    struct.pack_into(">q", bad, 0, 700)
    struct.pack_into(">i", bad, 12, 4)
    good = readable(bytes(bad) + b"cut off")
    [(offset, epoch)] = _epochs(good)
    assert (offset, epoch) == (700, 4)
    batch = MemoryRecords(good).next_batch()
    assert batch.validate_crc()
    assert batch.next_offset == 710
    found = [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]
    name = "\N{REPLACEMENT CHARACTER}" * 2
    headers = [(name, b"v"), ("y", None)]
    assert found == [(700, 1000, b"k", None, headers), (703, 1003, b"k", None, headers)]


def test_batches_that_can_be_read_stay_as_they_are() -> None:
    builder = Builder(2, 0, 0, -1, -1, -1, 2**20)
    builder.append(0, 1000, b"k", b"v", [("name", b"v")])
    whole = bytes(builder.build())
    assert readable(whole * 2) == whole * 2
    assert readable(b"") == b""
    assert readable(b"\0" * 11) == b""


def test_offsets_that_no_worker_committed_are_told_and_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An administrator's move forward would skip records without a word."""
    metrics = Metrics()
    report = Report({"mail": "inbox"}, metrics)
    places = [TopicPartition("mail", number) for number in range(30)]
    own = written(Mark(None, 3))
    report.moved({tp: OffsetAndMetadata(7, own) for tp in places})
    report.moved({tp: OffsetAndMetadata(7, None) for tp in places})  # the embedded broker's
    report.moved({tp: OffsetAndMetadata(0, "") for tp in places})
    assert caplog.text == ""
    for _ in range(2):  # a rebalance finds them again
        report.moved({tp: OffsetAndMetadata(500 + tp.partition, "") for tp in places})
    [line] = caplog.messages
    assert "route inbox, topic mail: the group's offsets were set by an administrator" in line
    assert "0: 500, 1: 501" in line
    assert line.endswith("19: 519 and 10 more")
    name = "winnow_offsets_moved_total"
    assert metrics.registry.get_sample_value(name, {"route": "inbox"}) == 30


def test_a_group_that_begins_at_the_end_says_what_it_leaves_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its offsets may have expired; an empty partition has nothing that it could leave out."""
    ends = {TopicPartition("mail", n): OffsetAndMetadata(n, written(UNMARKED)) for n in range(2)}
    Report({"mail": "inbox"}, Metrics()).begun(ends)
    [line] = caplog.messages
    assert "they expired" in line
    assert line.endswith("Partition: offset 1: 1")


def test_records_that_were_deleted_unread_are_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Until one is labelled behind them, each seek to the committed offset finds them again."""
    metrics = Metrics()
    report = Report({"mail": "inbox"}, metrics)
    for parted in [Parted(P0, 100, 150, False, 50)] * 2 + [Parted(P0, 160, 170, False, 10)]:
        report.parted(parted)
    assert len(caplog.messages) == 2
    name = "winnow_records_missed_total"
    assert metrics.registry.get_sample_value(name, {"route": "inbox"}) == 60
