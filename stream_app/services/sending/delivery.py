"""Delivery: the producers behind a route's guarantee."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.pipeline.outgoing import Sender
from stream_app.services.reading.broker import committed_offset
from stream_app.services.sending.send import IdempotentSender
from stream_app.services.sending.transact import TRANSACTION_TIMEOUT_MS, TransactionalSender

ENVELOPE_BYTES = 1024 * 1024  # room for headers and key around the largest value


def new_sender(kafka: KafkaSettings, route: RouteSettings, idempotent: bool) -> Sender:
    """The sender of the route's delivery mode. Raises BrokerError without transactions for it."""
    if route.delivery == "at_least_once":
        return idempotent_sender(kafka, route, idempotent)
    if not idempotent:
        raise BrokerError(
            f'route {route.name}: delivery = "effectively_once" needs transactions, and the broker '
            f'at {kafka.bootstrap_servers} has none: use Apache Kafka, or "at_least_once"'
        )

    def transactional_producer(partition: Partition) -> AIOKafkaProducer:
        name = f"{kafka.group_id}-{partition.topic}-{partition.number}"
        return new_producer(
            kafka,
            route,
            transactional_id=name,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=20,  # a coordinator is often busy with the marker of the last one
        )

    committed = partial(committed_offset, kafka, kafka.group_id)
    return TransactionalSender(kafka.group_id, transactional_producer, committed)


def idempotent_sender(kafka: KafkaSettings, route: RouteSettings, idempotent: bool) -> Sender:
    """One producer for all partitions; offsets are committed apart."""
    return IdempotentSender(partial(new_producer, kafka, route, enable_idempotence=idempotent))


def new_client(kafka: KafkaSettings) -> AIOKafkaClient:
    """A connection for single requests."""
    return AIOKafkaClient(**kafka.client_arguments(), request_timeout_ms=20_000)


def new_producer(kafka: KafkaSettings, route: RouteSettings, **how: Any) -> AIOKafkaProducer:
    """A producer of one route's labels and dead letters."""
    return AIOKafkaProducer(
        **kafka.client_arguments(),
        acks="all",
        linger_ms=0,
        request_timeout_ms=20_000,
        # a dead letter carries any value whole that a broker would deliver to us
        max_request_size=max(route.max_record_bytes * 4, 64 * 1024 * 1024) + ENVELOPE_BYTES,
        **how,
    )
