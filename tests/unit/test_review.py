"""Records for review: which, what they carry, and that a label never waits for them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError
from pydantic import ValidationError

from stream_app.cli.review import printable
from stream_app.core.messages import Partition, Prediction, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings, Settings
from stream_app.pipeline.work import Past, Work
from stream_app.services.review_copier import (
    MAX_WAITING_RECORDS,
    ReviewCopier,
    review_headers,
    wanted,
)

SURE = Prediction("spam", ("spam",), 0.98, {"spam": 0.98}, "spam")
UNSURE = Prediction("spam", ("spam",), 0.6, {"spam": 0.6}, "unsure")


def route(**settings: Any) -> RouteSettings:
    return RouteSettings(
        name="mail", format="text", model="m", input_topic="in", output_topic="out", **settings
    )


def record(offset: int, size: int = 4, *headers: tuple[str, bytes]) -> Record:
    return Record(Partition("in", 0), offset, b"key", b"x" * size, headers, 1234)


def test_nothing_is_copied_unless_asked_for():
    assert route().review_topic == ""
    assert not any(wanted(record(n).id, UNSURE, route()) for n in range(100))


def test_a_share_is_drawn_by_id_and_the_unsure_go_with_it():
    tenth = route(review_share=0.1)
    drawn = [wanted(record(n).id, SURE, tenth) for n in range(10_000)]
    assert 850 < sum(drawn) < 1150
    assert drawn == [wanted(record(n).id, SURE, tenth) for n in range(10_000)]
    everything = route(review_share=1)
    assert all(wanted(record(n).id, SURE, everything) for n in range(100))
    unsure = route(review_unsure=True, min_confidence=0.8)
    assert wanted(record(1).id, UNSURE, unsure)
    assert not wanted(record(1).id, SURE, unsure)


def test_a_replayed_record_is_not_drawn_anew():
    half = route(review_share=0.5)
    for n in range(100):
        again = Work(record(n + 1000), cast("Any", None), past=Past(record(n).id, 1))
        assert wanted(again.id, SURE, half) == wanted(record(n).id, SURE, half)


def test_a_copy_says_what_the_model_said():
    came = (("traceparent", b"00-1"), ("winnow-attempts", b"2"))
    assert dict(review_headers(record(7, 4, *came), "in/0/7", UNSURE, "mail")) == {
        "traceparent": b"00-1",
        "winnow-origin-id": b"in/0/7",
        "winnow-route": b"mail",
        "winnow-label": b"spam",
        "winnow-confidence": b"0.6000",
    }


def test_the_topic_is_the_routes_own():
    assert route(review_share=0.1).topics == ("in", "out", "in.dlq", "in.review")
    with pytest.raises(ValidationError, match="must differ"):
        route(review_share=0.1, dead_letter_topic="in.review")
    assert route(review_unsure=True).review_topic == "in.review"
    reader = route().model_copy(update={"name": "loop", "input_topic": "in.review"})
    with pytest.raises(ValidationError, match="loop"):
        Settings(routes=(route(review_share=0.1), reader))


class Producer:
    """A producer that sends, or fails, once it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.let = asyncio.Event()
        self.sent: list[bytes] = []
        self.stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    async def send_and_wait(self, topic: str, value: bytes, *_: object, **__: object) -> None:
        await self.let.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(value)


def works(records: list[Record]) -> list[Work]:
    found = (SimpleNamespace(record=each, id=each.id, prediction=SURE) for each in records)
    return [cast("Work", work) for work in found]


def counted(metrics: Metrics, outcome: str) -> float:
    return float(metrics.reviewed.labels("mail", outcome)._value.get())


async def test_more_than_the_broker_takes_is_dropped_and_counted():
    metrics, producer = Metrics(), Producer()
    copier = ReviewCopier(route(review_share=1), lambda: cast("Any", producer), metrics)
    copier.observe(works([record(n) for n in range(MAX_WAITING_RECORDS + 5)]))
    assert counted(metrics, "dropped") == 5
    producer.let.set()
    async with copier:
        while counted(metrics, "copied") < MAX_WAITING_RECORDS:
            await copier.sleep(0)
        copier.observe(works([record(n, 9_000_000) for n in range(3)]))
        assert counted(metrics, "dropped") == 7
    assert producer.stopped


async def test_a_copy_that_fails_is_lost_and_the_next_has_a_new_producer():
    metrics = Metrics()
    producers = [Producer(KafkaConnectionError()), Producer()]
    for producer in producers:
        producer.let.set()
    left = iter(producers)
    copier = ReviewCopier(route(review_share=1), lambda: cast("Any", next(left)), metrics)
    async with copier:
        copier.observe(works([record(0), record(1)]))
        while counted(metrics, "copied") < 1:
            await copier.sleep(0)
    assert counted(metrics, "failed") == 1
    assert all(producer.stopped for producer in producers)
    assert producers[1].sent == [b"xxxx"]


def test_a_mail_cannot_write_on_the_terminal():
    assert printable("a\x1b[2J\u202eb\nc\td") == "a\ufffd[2J\ufffdb\nc\td"
