"""Send: a batch to the broker, once. pipeline/publisher.py decides what to do about a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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
        """See Sender. An idempotent delivery under way never gives up.

        The client's own queue goes on behind what a broker refused: labels behind one that is too
        large would come before it.
        """
        places: list[tuple[str, int]] = []
        refused: BaseException | None = None
        try:
            if self._producer is None:
                self._producer = await started(self._connect())
            for out in batch:
                places.append((out.topic, await place(self._producer, out)))
        except FAILURES as error:
            refused = error
        lanes: dict[tuple[str, int], list[int]] = {}
        for number, where in enumerate(places):
            lanes.setdefault(where, []).append(number)
        results = [refused] * len(batch)
        assert self._producer is not None or not lanes
        sent = await asyncio.gather(
            *(_in_order(self._producer, to, [batch[n] for n in lane]) for to, lane in lanes.items())
        )
        for lane, found in zip(lanes.values(), sent, strict=True):
            for number, result in zip(lane, found, strict=True):
                results[number] = result
        return results

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


async def _in_order(
    producer: Any, to: tuple[str, int], outs: Sequence[Outgoing]
) -> list[BaseException | None]:
    """The results of one output partition's items: each request is confirmed before the next is
    sent, and none follows one that failed."""
    topic, partition = to
    confirmed = 0
    while confirmed < len(outs):
        request, count = producer.create_batch(), 0
        while confirmed + count < len(outs) and _appended(request, outs[confirmed + count]):
            count += 1
        try:
            if count > 1:
                delivery = await producer.send_batch(request, topic, partition=partition)
            else:  # it may be larger than any request, which only this call looks at
                delivery = await enqueue(producer, outs[confirmed])
            await delivery
        except FAILURES as error:
            return [None] * confirmed + [error] * (len(outs) - confirmed)
        confirmed += count
    return [None] * confirmed


def _appended(request: Any, out: Outgoing) -> bool:
    """Whether an item still went into a request; the first always does."""
    headers = list(out.headers)
    return request.append(timestamp=None, key=out.key, value=out.value, headers=headers) is not None


async def enqueue(producer: AIOKafkaProducer, out: Outgoing) -> Awaitable[object]:
    """Hand one item to a producer."""
    partition = await place(producer, out)
    delivery: Awaitable[object]
    if out.key is None and out.value is None:  # Kafka takes it, `send` does not
        alone = producer.create_batch()
        _appended(alone, out)
        delivery = await producer.send_batch(alone, out.topic, partition=partition)
    else:
        delivery = await producer.send(
            out.topic,
            key=out.key,
            value=out.value,
            headers=list(out.headers),
            partition=partition,
        )
    return delivery


async def place(producer: AIOKafkaProducer, out: Outgoing) -> int:
    """An item's output partition: the one with its input's number, or modulo that."""
    partitions = await producer.partitions_for(out.topic)
    return out.source.partition.number % len(partitions)
