"""Asking the stream: the message on its input topic, the answer by its id, and no broker at all."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kafka import KafkaProducer

from stream_app.core.errors import ConfigError, NoLabel
from stream_app.core.headers import encoded
from stream_app.core.health import Health
from stream_app.core.settings import KafkaSettings, RouteSettings, TopicSettings
from stream_app.filter.stream import Stream
from stream_app.kafka.embedded_broker import EmbeddedBroker
from stream_app.kafka.reading import read_topic
from stream_app.kafka.topics import create_topics
from tests.conftest import free_port
from tests.filter_answers import labelled, mail_route

DEADLINE_SECONDS = 60.0


class WatchedHealth(Health):
    """Tells of each change."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Event()
        self.unready("worker", None)

    def unready(self, part: str, why: str | None) -> None:
        super().unready(part, why)
        self._changed.set()

    async def until(self, is_wanted: Callable[[str], bool]) -> None:
        """Return once what is said of the broker, '' if it is ready, is what is wanted."""
        while not is_wanted(self.not_ready().get("broker", "")):
            await asyncio.to_thread(self._changed.wait, 30)
            self._changed.clear()


class Scene:
    """A route with topics of its own, and a producer in the place of a worker."""

    def __init__(self, address: str) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=address)
        name = f"t{uuid.uuid4().hex[:10]}"
        self.route: RouteSettings = mail_route(input_topic=name, output_topic=f"{name}.labels")
        self.health = WatchedHealth()

    def create_topics(self) -> None:
        create_topics(self.kafka, self.route.topics, TopicSettings(partitions=1))

    def id(self, offset: int) -> str:
        return f"{self.route.input_topic}/0/{offset}"

    def answer(self, topic: str, value: bytes, *headers: tuple[str, str]) -> None:
        """As a worker would."""
        producer = KafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers)
        producer.send(topic, value, headers=list(encoded(*headers))).get(30)
        producer.close()

    def label(self, offset: int) -> None:
        value = labelled("spam", id=self.id(offset)).model_dump_json().encode()
        self.answer(self.route.output_topic, value, ("ce_id", self.id(offset)))

    async def ready(self) -> None:
        await self.health.until(lambda problem: not problem)

    async def sent(self, count: int) -> list[Any]:
        """The records of the input topic, once it has so many."""
        while True:
            found = await asyncio.to_thread(
                lambda: list(read_topic(self.kafka, self.route.input_topic))
            )
            if len(found) >= count:
                return found

    @asynccontextmanager
    async def stream(self, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Stream]:
        async with Stream(self.kafka, [self.route], deadline_seconds, self.health) as stream:
            yield stream


@pytest.fixture
def scene(tansu: str) -> Scene:
    scene = Scene(tansu)
    scene.create_topics()
    return scene


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(free_port()) as broker:
        yield broker


async def no_label(asking: Any) -> NoLabel:
    with pytest.raises(NoLabel) as raised:
        await asking
    return raised.value


async def test_each_message_gets_the_label_of_its_own_record(scene: Scene):
    async with scene.stream() as stream:
        await scene.ready()
        asked = [asyncio.create_task(stream.ask(scene.route, b"0", b"<1@x>"))]
        await scene.sent(1)
        asked.append(asyncio.create_task(stream.ask(scene.route, b"1", None)))
        records = await scene.sent(2)
        for offset in (1, 0):
            await asyncio.to_thread(scene.label, offset)
        labels = await asyncio.gather(*asked)
    assert [(record.key, record.value) for record in records] == [(b"<1@x>", b"0"), (None, b"1")]
    assert [label.id for label in labels] == [scene.id(0), scene.id(1)]


async def test_a_label_may_come_before_the_delivery_report(scene: Scene):
    async with scene.stream() as stream:
        await scene.ready()
        first = asyncio.create_task(stream.ask(scene.route, b"0", None))
        await scene.sent(1)
        await asyncio.to_thread(scene.label, 1)  # nobody has asked yet
        await asyncio.to_thread(scene.label, 0)
        await first
        assert (await stream.ask(scene.route, b"1", None)).id == scene.id(1)


async def test_a_dead_letter_is_an_answer(scene: Scene):
    async with scene.stream() as stream:
        await scene.ready()
        asked = asyncio.create_task(no_label(stream.ask(scene.route, b"0", None)))
        await scene.sent(1)
        headers = (("winnow-source", scene.id(0)), ("winnow-error", "malformed"))
        await asyncio.to_thread(scene.answer, scene.route.dead_letter_topic, b"0", *headers)
        reason = await asked
    assert (reason.reason, reason.code) == ("dead_letter", "malformed")


async def test_what_others_write_to_the_topics_is_no_answer_and_no_trouble(scene: Scene):
    async with scene.stream() as stream:
        await scene.ready()
        asked = asyncio.create_task(no_label(stream.ask(scene.route, b"0", None)))
        await scene.sent(1)
        output = scene.route.output_topic
        await asyncio.to_thread(scene.answer, output, b"no headers")
        await asyncio.to_thread(scene.answer, scene.route.dead_letter_topic, b"no headers")
        await asyncio.to_thread(scene.answer, output, b"not JSON", ("ce_id", scene.id(0)))
        assert (await asked).reason == "failed"
        after = asyncio.create_task(stream.ask(scene.route, b"1", None))
        await scene.sent(2)
        await asyncio.to_thread(scene.label, 1)
        assert (await after).id == scene.id(1)


async def test_a_worker_may_say_more_than_the_filter_knows(scene: Scene):
    label = labelled("spam", id=scene.id(0)).model_dump(mode="json")
    label |= {"added": 1, "source": label["source"] | {"later": "x"}}
    async with scene.stream() as stream:
        await scene.ready()
        asked = asyncio.create_task(stream.ask(scene.route, b"0", None))
        await scene.sent(1)
        value = json.dumps(label).encode()
        output = scene.route.output_topic
        await asyncio.to_thread(scene.answer, output, value, ("ce_id", scene.id(0)))
        assert (await asked).decision == "spam"


async def test_without_a_broker_the_answer_is_no_at_once_and_it_is_looked_for():
    port = free_port()
    scene = Scene(f"127.0.0.1:{port}")
    async with scene.stream() as stream:
        assert (await no_label(stream.ask(scene.route, b"0", None))).reason == "broker"
        assert "broker" in scene.health.not_ready()
        with EmbeddedBroker(port):
            await asyncio.to_thread(scene.create_topics)
            await scene.ready()
            asked = asyncio.create_task(stream.ask(scene.route, b"0", None))
            await scene.sent(1)
            await asyncio.to_thread(scene.label, 0)
            assert (await asked).id == scene.id(0)


async def test_a_topic_that_is_missing_is_named(tansu: str):
    scene = Scene(tansu)
    async with scene.stream() as stream:
        await scene.health.until(lambda problem: "no topic" in problem)
        assert scene.route.input_topic in scene.health.not_ready()["broker"]
        assert (await no_label(stream.ask(scene.route, b"0", None))).reason == "broker"


async def test_a_broker_that_goes_away_confirms_nothing(own_broker: EmbeddedBroker):
    scene = Scene(own_broker.address)
    scene.create_topics()
    async with scene.stream(deadline_seconds=1.0) as stream:
        await scene.ready()
        own_broker.__exit__(None, None, None)
        assert (await no_label(stream.ask(scene.route, b"0", None))).reason == "broker"
        assert "broker" in scene.health.not_ready()


def test_a_file_that_it_cannot_use_is_named_before_it_starts(tmp_path: Any):
    kafka = KafkaSettings(security_protocol="SSL", ssl_ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"none\.pem"):
        Stream(kafka, [mail_route()], DEADLINE_SECONDS, Health())
