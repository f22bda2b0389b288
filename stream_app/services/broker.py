"""What a worker must know of its broker first: is it there, its topics, its abilities."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaError,
    UnknownError,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from stream_app.core.errors import BrokerError
from stream_app.core.health import Health
from stream_app.core.messages import Partition
from stream_app.core.settings import KafkaClientSettings, Settings
from stream_app.kafka.access import TIMEOUT_MS, get_in, unreachable

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
TOPIC_TRIES = 5
TRANSACTION_TIMEOUT_MS = 60_000  # required by the request, without meaning for idempotence alone


@dataclass(frozen=True, slots=True)
class Broker:
    """Its topics, and whether it has idempotent producers and transactions (embedded: neither)."""

    topics: frozenset[str]
    idempotent_producers: bool


async def await_broker(settings: Settings, health: Health) -> Broker:
    """Wait for the broker; every topic of every route must exist on it, or appear soon."""
    kafka, patience = settings.kafka, TOPIC_TRIES
    while True:
        try:
            broker = await ask_broker(kafka)
            missing = _missing_topics(settings, broker)
            if not missing:
                break
            # a broker takes a moment to show topics that were just created
            patience -= 1
            if not patience:
                raise BrokerError(missing)
            health.unready("broker", missing)
        except (KafkaError, OSError) as error:
            why = unreachable(error, kafka)
            health.unready("broker", why)
            log.warning("waiting for a broker at %s, which %s", kafka.bootstrap_servers, why)
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


async def ask_broker(kafka: KafkaClientSettings) -> Broker:
    """Ask once. Raises KafkaError or OSError while there is no broker, AccessError where it is
    there and will not have us."""
    await get_in(kafka)
    client = AIOKafkaClient(**kafka.client_arguments(), request_timeout_ms=TIMEOUT_MS)
    try:
        await client.bootstrap()
        node = client.get_random_node()
        metadata = await client.send(node, MetadataRequest(None))
        topics = frozenset(topic[1] for topic in metadata.topics if topic[0] == 0)
        return Broker(topics, await _idempotent(client, node))
    finally:
        await client.close()


async def _idempotent(client: AIOKafkaClient, node: int) -> bool:
    """A broker without idempotence refuses the request outright; one that is busy says so."""
    request = InitProducerIdRequest(
        transactional_id=None, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS
    )
    try:
        answer = await client.send(node, request)
    except IncompatibleBrokerVersion:
        return False
    return bool(answer.error_code != UnknownError.errno)


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
