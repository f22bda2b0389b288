"""What a worker must know of its broker first: is it there, its topics, its abilities."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CoordinatorNotAvailableError, IncompatibleBrokerVersion, UnknownError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from stream_app.core.kafka import KafkaClientSettings
from stream_app.core.messages import Partition
from stream_app.services.access import TIMEOUT_MS, get_in

TRANSACTION_TIMEOUT_MS = 60_000  # required by the request, without meaning for idempotence alone


@dataclass(frozen=True, slots=True)
class Broker:
    """Its topics, and whether it has idempotent producers and transactions (embedded: neither)."""

    topics: frozenset[str]
    idempotent_producers: bool


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
