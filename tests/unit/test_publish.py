"""The publisher: nothing is given up, order is kept, a producer in doubt is replaced."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, UnknownError
from prometheus_client import Counter

from stream_app.core.errors import RecordError
from stream_app.core.messages import Partition, Record
from stream_app.pipeline.dead_letter import dead_letter
from stream_app.pipeline.outgoing import Outgoing
from stream_app.pipeline.publisher import FORGOTTEN, KEYLESS, MISSING, Publisher
from stream_app.services.sending.send import IdempotentSender


class Delivered(NamedTuple):
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass
class Topic:
    """What the broker has, and a script of what it refuses."""

    delivered: list[Delivered] = field(default_factory=list)
    refuse: Callable[[bytes | None], Exception | None] = lambda value: None
    producers: int = 0
    stopped: int = 0


class Batch(list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]):
    """Of two records: the broker takes both or neither."""

    def append(self, *, timestamp, key, value, headers) -> object:
        if len(self) == 2:
            return None
        super().append((key, value, headers))
        return self


class Producer:
    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        topic.producers += 1

    create_batch = staticmethod(Batch)

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.topic.stopped += 1

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    async def send(self, topic, key, value, headers, partition) -> asyncio.Future[None]:
        assert not (value is None and key is None), "Need at least one: key or value"  # as aiokafka
        return await self.send_batch([(key, value, headers)], topic, partition=partition)

    async def send_batch(self, batch, topic, *, partition) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        errors = [error for _, value, _ in batch if (error := self.topic.refuse(value))]
        if errors:
            future.set_exception(errors[0])
        else:
            self.topic.delivered += [Delivered(topic, partition, *record) for record in batch]
            future.set_result(None)
        return future


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def publisher(topic: Topic) -> Publisher:
    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    failures = Counter("f", "", registry=None)
    sender = IdempotentSender(lambda: Producer(topic))
    return Publisher("mail", sender, failures, no_wait)


def out(value: bytes, partition: int = 0) -> Outgoing:
    source = Record(Partition("mail", partition), 0, None, b"")
    return Outgoing("mail.labels", source, None, value, ())


async def test_a_failed_record_is_sent_again_with_all_behind_it(publisher: Publisher, topic: Topic):
    failures = [KafkaTimeoutError()]

    def refuse(value: bytes | None) -> Exception | None:
        return failures.pop() if value == b"b" and failures else None

    topic.refuse = refuse
    batch = [out(b"a"), out(b"b"), out(b"x", partition=1), out(b"c")]
    assert await publisher.publish(batch)
    assert [o.value for o in topic.delivered] == [b"x", b"a", b"b", b"c"]
    assert (topic.producers, topic.stopped) == (2, 1), "its sequence was in doubt"
    assert publisher.failing is None


async def test_nothing_passes_a_label_that_is_too_large(publisher: Publisher, topic: Topic):
    """The broker takes what is behind it: readers saw that first, and again in its place."""
    topic.refuse = lambda v: MessageSizeTooLargeError() if v == b"2" else None

    def label(value: bytes, partition: int = 0) -> Outgoing:
        letter = replace(out(value, partition), topic="mail.dlq", value=None)
        return replace(out(value, partition), fallback=lambda: letter)

    batch = [label(b"%d" % n) for n in range(7)]
    assert await publisher.publish([*batch, label(b"other", partition=1)])
    found = [o.value for o in topic.delivered if o.partition == 0]
    assert found == [b"0", b"1", None, b"3", b"4", b"5", b"6"]
    assert [o.value for o in topic.delivered if o.partition == 1] == [b"other"]


async def test_it_says_that_it_fails_while_it_fails(publisher: Publisher, topic: Topic):
    said: list[str | None] = []

    def refuse(value: bytes | None) -> Exception | None:
        said.append(publisher.failing)
        return KafkaTimeoutError() if len(said) < 3 else None

    topic.refuse = refuse
    assert await publisher.publish([out(b"a")])
    assert said[0] is None
    assert said[1] == said[2] == "topic mail.labels: KafkaTimeoutError"
    assert publisher.failing is None


@pytest.mark.parametrize(("key", "told"), [(None, KEYLESS), (b"key", MISSING)])
async def test_a_label_without_a_key_that_a_topic_refuses_is_told(
    publisher: Publisher, topic: Topic, caplog: pytest.LogCaptureFixture, key, told: str
):
    """A compacted topic takes none; aiokafka has no name for that error."""
    failures = [UnknownError()]
    topic.refuse = lambda value: failures.pop() if failures else None
    assert await publisher.publish([replace(out(b"a"), key=key), out(b"b", partition=1)])
    assert caplog.messages[0].startswith("route mail: cannot write to topic mail.labels")
    assert told in caplog.messages[0]


async def test_it_stops_trying_when_the_partitions_are_gone(publisher: Publisher, topic: Topic):
    topic.refuse = lambda value: KafkaTimeoutError()
    answers = iter([True, True, False])
    assert not await publisher.publish([out(b"a")], lambda: next(answers))
    assert topic.delivered == []
    assert publisher.failing is None, "whoever has them now may fail; this worker does not"


async def test_a_dead_letter_too_large_goes_without_its_value(publisher: Publisher, topic: Topic):
    topic.refuse = lambda v: MessageSizeTooLargeError() if v and len(v) > 10 else None
    record = Record(Partition("mail", 0), 8, b"key", b"x" * 99, (("h", b"1"),))
    letter = dead_letter(record, RecordError("malformed", "why"), "mail.dlq", "mail", "m/1")
    assert await publisher.publish([out(b"a"), letter, out(b"b")])
    by_topic = {o.topic: o for o in topic.delivered}
    slim = by_topic["mail.dlq"]
    headers = dict(slim.headers)
    assert (slim.key, slim.value) == (b"key", None)
    assert headers["h"] == b"1"
    assert headers["winnow-value-bytes"] == b"99"
    assert len(headers["winnow-value-sha256"]) == 64
    assert headers["winnow-source"] == b"mail/0/8"
    labels = [o.value for o in topic.delivered if o.topic == "mail.labels"]
    assert labels[-1] == b"b", "order is kept"
    assert publisher.failing is None


async def test_a_dead_letter_may_have_neither_key_nor_value(publisher: Publisher, topic: Topic):
    """A record without a key whose value is null, or too large: the worker ended with it."""
    topic.refuse = lambda v: MessageSizeTooLargeError() if v and len(v) > 10 else None
    for value in (None, b"x" * 99):
        record = Record(Partition("mail", 0), 8, None, value)
        error = RecordError("malformed", "why")
        assert await publisher.publish([dead_letter(record, error, "mail.dlq", "mail", "m/1")])
    assert [(letter.key, letter.value) for letter in topic.delivered] == [(None, None)] * 2


async def test_output_goes_to_the_partition_of_its_input(publisher: Publisher, topic: Topic):
    await publisher.publish([out(b"%d" % n, partition=n) for n in range(5)])
    assert {(o.value, o.partition) for o in topic.delivered} == {
        (b"%d" % n, n % 2) for n in range(5)
    }


async def test_idle_is_awaited(publisher: Publisher, topic: Topic):
    await publisher.wait_idle()
    started = asyncio.Event()

    def refuse(value: bytes | None) -> Exception | None:
        started.set()
        return None

    topic.refuse = refuse
    sending = asyncio.ensure_future(publisher.publish([out(b"a")]))
    await started.wait()
    await publisher.wait_idle()
    assert sending.done() or topic.delivered
    assert await sending


@pytest.mark.parametrize("error", FORGOTTEN)
async def test_a_producer_that_the_broker_forgot_is_no_outage(
    publisher: Publisher, topic: Topic, error: type[Exception]
):
    said: list[str | None] = []

    def refuse(value: bytes | None) -> Exception | None:
        said.append(publisher.failing)
        return error() if len(said) == 1 else None

    topic.refuse = refuse
    assert await publisher.publish([out(b"a")])
    assert said[:2] == [None, None], "a new one sends it at once"
    assert [o.value for o in topic.delivered] == [b"a"]


async def test_a_broker_that_forgets_every_producer_is_one(publisher: Publisher, topic: Topic):
    said: list[str | None] = []

    def refuse(value: bytes | None) -> Exception | None:
        said.append(publisher.failing)
        return FORGOTTEN[0]() if len(said) < 4 else None

    topic.refuse = refuse
    assert await publisher.publish([out(b"a")])
    assert said == [None, None, *[f"topic mail.labels: {FORGOTTEN[0].__name__}"] * 2]
    assert publisher.failing is None
