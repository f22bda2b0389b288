"""A source's delivery on real brokers: confirmed or refused, and an outage is waited for."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from stream_app.core.errors import BrokerError
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaSettings
from stream_app.kafka.embedded_broker import EmbeddedBroker
from stream_app.kafka.reading import read_topic
from stream_app.sources import delivery as sources
from stream_app.sources.delivery import Item, delivering


def made_topic(address: str, **configs: str) -> str:
    name = f"d{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.create_topics(
            [NewTopic(name=name, num_partitions=2, replication_factor=1, topic_configs=configs)]
        )
    finally:
        admin.close()
    return name


async def test_what_is_delivered_is_on_the_topic(broker_address: str):
    topic = made_topic(broker_address)
    kafka, metrics = KafkaSettings(bootstrap_servers=broker_address), Metrics()
    items = [Item(f"n{n}", b"%d" % n, b"key", timestamp=1000 + n) for n in range(2000)]
    future = Item("later", b"later", timestamp=10**14)
    async with delivering("files", kafka, topic, metrics, Health()) as delivery:
        assert await delivery.deliver([]) == []
        assert await delivery.deliver(items) == []
        assert await delivery.deliver([future]) == []
    *found, last = sorted(read_topic(kafka, topic), key=lambda record: record.timestamp or 0)
    assert [(r.value, r.key, r.timestamp) for r in found] == [
        (item.value, item.key, item.timestamp) for item in items
    ]
    assert (last.timestamp or 0) < 10**13, "brokers refuse what is of the future"
    assert metrics.ingested.labels("files", "delivered")._value.get() == 2001


async def test_what_is_too_large_is_refused_alone(apache: str):
    topic = made_topic(apache, **{"max.message.bytes": "1000"})
    kafka = KafkaSettings(bootstrap_servers=apache)
    items = [Item("1", b"small"), Item("2", bytes(5000)), Item("3", b"small")]
    async with delivering("files", kafka, topic, Metrics(), Health()) as delivery:
        assert await delivery.deliver(items) == [items[1]]
    assert [record.value for record in read_topic(kafka, topic)].count(b"small") == 2


async def test_a_topic_that_does_not_exist_is_named(tansu: str):
    kafka = KafkaSettings(bootstrap_servers=tansu)
    async with delivering("files", kafka, "nowhere", Metrics(), Health()) as delivery:
        with pytest.raises(BrokerError, match="no topic 'nowhere'"):
            await delivery.deliver([Item("1", b"x")])


async def test_a_broker_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "DELIVERY_MS", 1000)
    unready = asyncio.Event()

    class Watched(Health):
        def unready(self, part: str, why: str | None) -> None:
            super().unready(part, why)
            if part == sources.HEALTH and why:
                unready.set()

    health = Watched()
    health.unready("worker", None)
    with EmbeddedBroker() as broker:
        kafka, topic = KafkaSettings(bootstrap_servers=broker.address), made_topic(broker.address)
        async with delivering("files", kafka, topic, Metrics(), health) as delivery:
            await delivery.deliver([Item("1", b"before")])
            os.kill(broker._process.pid, signal.SIGSTOP)
            waiting = asyncio.ensure_future(delivery.deliver([Item("2", b"meanwhile")]))
            await unready.wait()
            os.kill(broker._process.pid, signal.SIGCONT)
            assert await waiting == []
        assert health.not_ready() == {}
        assert {r.value for r in read_topic(kafka, topic)} == {b"before", b"meanwhile"}


async def test_a_delivery_under_way_is_noted_when_its_source_is_stopped(tansu: str):
    topic, noted = made_topic(tansu), asyncio.Event()
    kafka = KafkaSettings(bootstrap_servers=tansu)
    async with delivering("files", kafka, topic, Metrics(), Health()) as delivery:
        settling = asyncio.ensure_future(
            delivery.settle([Item("1", b"x")], lambda refused: noted.set())
        )
        await asyncio.sleep(0)
        settling.cancel()
        await asyncio.wait({settling})
    assert settling.cancelled()
    assert noted.is_set()
    assert len(list(read_topic(kafka, topic))) == 1
