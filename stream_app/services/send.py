"""Send: a batch to the broker, once. pipeline/publisher.py decides what to do about a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream_app.pipeline.outgoing import Outgoing

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
FAILURES = (KafkaError, OSError, TimeoutError)  # what a broker that is away or unwilling raises


class IdempotentSender:
    """At least once: one producer for all; the offset is committed apart, and later."""

    def __init__(self, connect: Callable[[], AIOKafkaProducer]) -> None:
        self._connect = connect
        self._producer: AIOKafkaProducer | None = None

    async def send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        """See Sender. An idempotent delivery under way never gives up."""
        deliveries: list[Awaitable[object]] = []
        refused: BaseException | None = None
        try:
            if self._producer is None:
                self._producer = await started(self._connect())
            for out in batch:
                deliveries.append(await enqueue(self._producer, out))
        except FAILURES as error:
            refused = error
        done = await asyncio.gather(*deliveries, return_exceptions=True)
        results = [r if isinstance(r, BaseException) else None for r in done]
        return results + [refused] * (len(batch) - len(results))

    def forget(self) -> None:
        """Nothing here belongs to a partition."""

    async def close(self) -> None:
        """See Sender."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)


async def started(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """The producer, connected. Raises one of FAILURES."""
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def stopped(producer: AIOKafkaProducer) -> None:
    """Stop a producer for good.

    aiokafka's `stop` waits for deliveries that may never end. Cancelled, it leaves its sender
    running, which would later deliver what has been sent again by then, and keep its connections.
    """
    try:
        await asyncio.wait_for(producer.stop(), CLOSE_SECONDS)
    except FAILURES as error:
        log.warning("a producer did not stop cleanly (%s)", type(error).__name__)
        with contextlib.suppress(*FAILURES):
            await asyncio.wait_for(producer._sender.close(), CLOSE_SECONDS)
        with contextlib.suppress(*FAILURES):
            await asyncio.wait_for(producer.client.close(), CLOSE_SECONDS)


async def enqueue(producer: AIOKafkaProducer, out: Outgoing) -> Awaitable[object]:
    """Hand one item to a producer: to the partition with its input's number, or modulo that."""
    partitions = await producer.partitions_for(out.topic)
    partition, headers = out.source.partition.number % len(partitions), list(out.headers)
    delivery: Awaitable[object]
    if out.key is None and out.value is None:  # Kafka takes it, `send` does not
        alone = producer.create_batch()
        alone.append(timestamp=None, key=None, value=None, headers=headers)
        delivery = await producer.send_batch(alone, out.topic, partition=partition)
    else:
        delivery = await producer.send(
            out.topic, key=out.key, value=out.value, headers=headers, partition=partition
        )
    return delivery
