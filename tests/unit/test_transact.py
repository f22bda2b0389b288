"""Effectively once: labels and offset together, whoever else writes, however it ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, ProducerFenced
from prometheus_client import Counter

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.pipeline.outgoing import Outgoing
from stream_app.pipeline.publisher import Publisher
from stream_app.services.reading.broker import Committed
from stream_app.services.sending.delivery import new_sender
from stream_app.services.sending.transact import TransactionalSender

P0, P1 = Partition("mail", 0), Partition("mail", 1)


@dataclass
class Log:
    """What readers of committed records see, the group's offsets, and who owns each partition."""

    committed: list[bytes | None] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    owners: dict[Partition, object] = field(default_factory=dict)
    transactions: int = 0
    fail: Callable[[str], Exception | None] = lambda step: None

    went_back: bool = False  # whether the input's log did

    async def offset(self, partition: Partition) -> Committed:
        return Committed(self.offsets.get(partition, 0), self.went_back)


class Producer:
    """A transactional producer as Kafka keeps its promises: fenced by the next one."""

    def __init__(self, log: Log, partition: Partition) -> None:
        self.log = log
        self.partition = partition
        self.pending: list[bytes | None] = []
        self.offsets: dict[Partition, int] = {}
        self.stopped = self.failed = False

    def step(self, name: str) -> None:
        if self.log.owners.get(self.partition) is not self:
            raise ProducerFenced
        error = self.log.fail(name)
        if error is not None:
            raise error

    async def start(self) -> None:
        self.log.owners[self.partition] = self

    async def stop(self) -> None:
        self.stopped = True

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    async def begin_transaction(self) -> None:
        self.pending, self.offsets = [], {}
        self.step("begin")

    async def send(self, topic, key, value, headers, partition) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        try:
            self.step("send")
            if value is not None and len(value) > 10:
                raise MessageSizeTooLargeError
        except Exception as error:
            future.set_exception(error)
        else:
            self.pending.append(value)
            future.set_result(None)
        return future

    async def send_offsets_to_transaction(self, offsets, group: str) -> None:
        self.step("offsets")
        assert group == "g"
        self.offsets = {Partition(*tp): committed.offset for tp, committed in offsets.items()}
        assert all(isinstance(tp, TopicPartition) for tp in offsets)

    async def commit_transaction(self) -> None:
        self.step("commit")
        self.log.committed += self.pending
        self.log.offsets |= self.offsets
        self.log.transactions += 1
        error = self.log.fail("after commit")
        if error is not None:
            raise error


@pytest.fixture
def log() -> Log:
    return Log()


def publisher(log: Log) -> Publisher:
    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    sender = TransactionalSender("g", lambda partition: Producer(log, partition), log.offset)
    return Publisher("mail", sender, Counter("f", "", registry=None), no_wait)


def out(partition: Partition, offset: int, value: bytes | None = None) -> Outgoing:
    record = Record(partition, offset, None, b"")
    value = b"%d:%d" % (partition.number, offset) if value is None else value
    fallback = Outgoing("mail.dlq", record, None, b"slim", ())
    return Outgoing("mail.labels", record, None, value, (), lambda: fallback)


async def test_a_transaction_a_partition_with_its_offset(log: Log):
    worker = publisher(log)
    assert await worker.publish([out(P0, 0), out(P1, 7), out(P0, 3)])
    assert sorted(filter(None, log.committed)) == [b"0:0", b"0:3", b"1:7"]
    assert log.offsets == {P0: 4, P1: 8}
    assert log.transactions == 2


async def test_a_commit_of_unknown_outcome_is_not_repeated(log: Log):
    """The answer to the commit is lost: what the group's offset says decides."""
    errors = [KafkaTimeoutError()]
    log.fail = lambda step: errors.pop() if step == "after commit" and errors else None
    assert await publisher(log).publish([out(P0, 0), out(P0, 1)])
    assert log.committed == [b"0:0", b"0:1"]
    assert log.transactions == 1


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
async def test_a_failed_transaction_is_tried_again_whole(log: Log, step: str):
    errors = [KafkaTimeoutError()]
    log.fail = lambda at: errors.pop() if at == step and errors else None
    assert await publisher(log).publish([out(P0, 0), out(P0, 1)])
    assert log.committed == [b"0:0", b"0:1"]
    assert log.offsets == {P0: 2}


async def test_a_transaction_that_fails_before_all_is_handed_over_is_tried_again(log: Log):
    """aiokafka then ends a send with an AssertionError; the delivery before it knows why."""
    failed: list[Exception] = [KafkaTimeoutError()]

    def fail(step: str) -> Exception | None:
        return failed[0] if step == "send" and len(failed) == 1 else None

    send = Producer.send

    async def broken(self: Producer, *args: object, **how: object) -> object:
        if len(failed) == 1 and self.failed:
            failed.append(AssertionError())
            raise failed[1]
        self.failed = True
        return await send(self, *args, **how)

    log.fail = fail
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Producer, "send", broken)
        assert await publisher(log).publish([out(P0, 0), out(P0, 1)])
    assert log.committed == [b"0:0", b"0:1"]


async def test_a_zombie_repeats_nothing(log: Log):
    """Paused with a batch in memory; meanwhile another worker did that batch and more."""
    zombie, other = publisher(log), publisher(log)
    assert await zombie.publish([out(P0, 0)])
    assert await other.publish([out(P0, 1), out(P0, 2)])
    assert await zombie.publish([out(P0, 1), out(P0, 2), out(P0, 3)])
    assert await other.publish([out(P0, 3), out(P0, 4)])
    assert log.committed == [b"0:0", b"0:1", b"0:2", b"0:3", b"0:4"]


async def test_an_offset_that_went_back_ends_the_worker(log: Log):
    worker = publisher(log)
    assert await worker.publish([out(P0, n) for n in range(10)])
    log.offsets[P0] = 4  # reset by hand
    log.owners.clear()
    with pytest.raises(BrokerError, match="went back to 4 from 10"):
        await worker.publish([out(P0, 10)])
    assert len(log.committed) == 10


async def test_a_log_that_went_back_is_no_reset(log: Log):
    """The consumer sees it too: until its partition is revoked, nothing more is published."""
    worker, revoked = publisher(log), False
    assert await worker.publish([out(P0, n) for n in range(10)])
    log.offsets[P0], log.went_back = 4, True
    log.owners.clear()

    def wanted() -> bool:
        nonlocal revoked
        revoked = not revoked
        return revoked  # once

    assert not await worker.publish([out(P0, 10)], wanted)
    worker.forget()
    assert await worker.publish([out(P0, 4, b"new")])
    assert log.committed[10:] == [b"new"]


async def test_a_partition_that_comes_back_is_read_again(log: Log):
    worker, other = publisher(log), publisher(log)
    assert await worker.publish([out(P0, 0)])
    first = log.owners[P0]
    worker.forget()
    assert await other.publish([out(P0, 1), out(P0, 2)])
    assert await worker.publish([out(P0, 2), out(P0, 3)])
    assert log.committed == [b"0:0", b"0:1", b"0:2", b"0:3"]
    assert first.stopped
    await worker.close()
    assert log.owners[P0].stopped


async def test_one_too_large_is_replaced_and_the_rest_follow_in_order(log: Log):
    worker = publisher(log)
    assert await worker.publish([out(P0, 0), out(P0, 1, b"x" * 11), out(P0, 2)])
    assert log.committed == [b"0:0", b"slim", b"0:2"]
    assert log.offsets == {P0: 3}


def test_a_broker_without_transactions_is_refused():
    route = RouteSettings(
        name="mail",
        format="text",
        model="m",
        input_topic="in",
        output_topic="out",
        delivery="effectively_once",
    )
    with pytest.raises(BrokerError, match='route mail: delivery = "effectively_once" needs'):
        new_sender(KafkaSettings(), route, idempotent=False)
