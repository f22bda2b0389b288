"""Waiting for the broker at a worker's start, and reading committed offsets."""

from __future__ import annotations

import asyncio
import logging

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorNotAvailableError

from stream_app.core.errors import BrokerError, BrokerUnreachable
from stream_app.core.health import Health
from stream_app.core.messages import Partition
from stream_app.core.settings import KafkaClientSettings, Settings
from stream_app.kafka.broker import Broker, ask_broker

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
TOPIC_TRIES = 5


async def await_broker(settings: Settings, health: Health) -> Broker:
    """Wait for the broker, and a few seconds for the topics of all routes.

    Raises BrokerError if a topic is missing, AccessError if the broker refuses us.
    """
    patience = TOPIC_TRIES
    while True:
        try:
            broker = await asyncio.to_thread(ask_broker, settings.kafka)
            missing = _missing_topics(settings, broker)
            if not missing:
                break
            # a broker takes a moment to show topics that were just created
            patience -= 1
            if not patience:
                raise BrokerError(missing)
            health.unready("broker", missing)
        except BrokerUnreachable as error:
            health.unready("broker", str(error))
            log.warning("waiting for a broker: %s", error)
        await asyncio.sleep(RETRY_SECONDS)
    health.unready("broker", None)
    if not broker.idempotent_producers:
        log.warning("this broker has no idempotent producers: use it for trials only")
    return broker


def _missing_topics(settings: Settings, broker: Broker) -> str:
    """The first topic that a route needs and the broker lacks, with what to do; or ''."""
    for route in settings.routes:
        for topic in route.topics:
            if topic not in broker.topics:
                return (
                    f"route {route.name}: topic {topic!r} does not exist on "
                    f"{settings.kafka.bootstrap_servers}; "
                    "make it: winnow topics create --config FILE"
                )
    return ""


async def committed_offset(kafka: KafkaClientSettings, group: str, partition: Partition) -> int:
    """The next offset the group has to read; 0 where it committed none. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_arguments())
    try:
        await admin.start()
        tp = TopicPartition(*partition)
        found = await admin.list_consumer_group_offsets(group, partitions=[tp])
    finally:
        await admin.close()
    if tp not in found:  # the client overlooks a coordinator's refusal, which leaves the list empty
        raise CoordinatorNotAvailableError
    return max(0, int(found[tp].offset))
