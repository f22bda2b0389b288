"""What a group committed, as a worker asks for it before it labels exactly once."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from stream_app.core.messages import Partition
from stream_app.core.settings import KafkaSettings
from stream_app.services.reading.broker import Committed, committed_offset
from tests.integration.harness import Stage, send
from tests.integration.process import PATIENCE


def new_topic(address: str, folder: Path) -> str:
    """A topic with ten records."""
    stage, name = Stage(address, folder, partitions=1), f"t{uuid.uuid4().hex[:10]}"
    stage.create(name)
    with stage.producer() as producer:
        send(producer, name, [b"text"] * 10, stage.partitions)
    return name


async def told(*asked: Any) -> Committed:
    """What the group committed, as soon as its coordinator is there and has it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await committed_offset(*asked)
            except KafkaError:
                continue


def question(address: str, topic: str) -> tuple[KafkaSettings, str, Partition]:
    """About the group that has the topic's name."""
    return KafkaSettings(bootstrap_servers=address), topic, Partition(topic, 0)


async def test_it_is_where_the_group_goes_on(broker_address: str, tmp_path: Path):
    topic = new_topic(broker_address, tmp_path)
    asked = question(broker_address, topic)
    assert await told(*asked) == Committed(0), "none yet"
    with KafkaConsumer(bootstrap_servers=broker_address, group_id=topic) as consumer:
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(7, "", -1)})
    assert await told(*asked) == Committed(7)


async def test_what_may_still_change_is_not_told(apache: str, tmp_path: Path):
    """An ordinary question is answered with the offset before it."""
    topic = new_topic(apache, tmp_path)
    asked = question(apache, topic)
    assert await told(*asked) == Committed(0)
    with KafkaProducer(bootstrap_servers=apache, transactional_id=topic) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"text", partition=0).get()
        after = {TopicPartition(topic, 0): OffsetAndMetadata(1, "", -1)}
        producer.send_offsets_to_transaction(after, topic)
        producer.flush()
        with pytest.raises(KafkaError):
            await committed_offset(*asked)
        producer.commit_transaction()
        assert await told(*asked) == Committed(1)
