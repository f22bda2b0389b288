"""Waiting for the broker at a worker's start, and reading committed offsets."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorNotAvailableError
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.errors import BrokerError, BrokerUnreachable
from stream_app.core.health import Health
from stream_app.core.messages import Partition
from stream_app.core.settings import KafkaClientSettings, Settings
from stream_app.kafka.broker import Broker, ask_broker
from stream_app.services.history.marks import read
from stream_app.services.history.parting import LACKING, BrokerLogs
from stream_app.services.reading.stable_offset import stable_offset

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


@dataclass(frozen=True, slots=True)
class Committed:
    """The next offset a group has to read of a partition; 0 where it committed none."""

    offset: int
    went_back: bool = False  # the log did, so the offset is lower than what the group committed


async def committed_offset(
    kafka: KafkaClientSettings, group: str, partition: Partition
) -> Committed:
    """What the group has to read next, in the log that is there now. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**kafka.client_arguments())
    try:
        await admin.start()
        coordinator = await admin.find_coordinator(group)
        found = await _found(admin, coordinator, group, partition)
        if found.offset < 0:
            return Committed(0)
        logs = BrokerLogs(admin._client)
        parted = await logs.parted(partition, found.offset, read(found.metadata))
    finally:
        await admin.close()
    return Committed(found.offset) if parted is None else Committed(parted.to, parted.went_back)


async def _found(
    admin: AIOKafkaAdminClient, coordinator: int, group: str, partition: Partition
) -> OffsetAndMetadata:
    """See stable_offset; of a broker that cannot be asked so, what it tells."""
    try:
        return await stable_offset(admin._client, coordinator, group, partition)
    except LACKING:
        tp = TopicPartition(*partition)
        told = await admin.list_consumer_group_offsets(group, coordinator, [tp])
        if tp not in told:  # the client overlooks a coordinator's refusal: the list is empty
            raise CoordinatorNotAvailableError from None
        return told[tp]
