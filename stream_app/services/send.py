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

        The client's own queue sends on behind what a broker refused: labels behind one that is too
        large would come before it.
        """
        lanes: dict[tuple[str, int], list[int]] = {}
        placed, refused = 0, None
        try:
            if self._producer is None:
                self._producer = await started(self._connect())
            for out in batch:
                lanes.setdefault((out.topic, await place(self._producer, out)), []).append(placed)
                placed += 1
        except FAILURES as error:
            refused = error
        sent = await asyncio.gather(
            *(self._in_order([batch[n] for n in lane], to) for (_, to), lane in lanes.items())
        )
        results: list[BaseException | None] = [None] * placed
        results += [refused] * (len(batch) - placed)
        for lane, (confirmed, why) in zip(lanes.values(), sent, strict=True):
            for number in lane[confirmed:]:
                results[number] = why
        return results

    async def _in_order(
        self, outs: Sequence[Outgoing], partition: int
    ) -> tuple[int, BaseException | None]:
        """How many items of one output partition are confirmed, and why no more: what a request
        holds is confirmed before the next is sent."""
        confirmed, producer = 0, self._producer
        assert producer is not None
        while confirmed < len(outs):
            batch, count = producer.create_batch(), 0
            for out in outs[confirmed:]:
                if not _appended(batch, out):
                    break
                count += 1
            try:
                if count > 1:
                    request = producer.send_batch(batch, outs[0].topic, partition=partition)
                else:  # it may be larger than any request, which only this call looks at
                    count, request = 1, enqueue(producer, outs[confirmed])
                [result] = await asyncio.gather(await request, return_exceptions=True)
            except FAILURES as error:
                result = error
            if isinstance(result, BaseException):
                return confirmed, result
            confirmed += count
        return confirmed, None

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
    """Hand one item to a producer."""
    delivery: Awaitable[object] = await producer.send(
        out.topic,
        key=out.key,
        value=out.value,
        headers=list(out.headers),
        partition=await place(producer, out),
    )
    return delivery


async def place(producer: AIOKafkaProducer, out: Outgoing) -> int:
    """An item's output partition: the one with its input's number, or modulo that."""
    partitions = await producer.partitions_for(out.topic)
    return out.source.partition.number % len(partitions)


def _appended(batch: Any, out: Outgoing) -> bool:
    """Whether an item still went into a batch; the first always does."""
    headers = list(out.headers)
    return batch.append(timestamp=None, key=out.key, value=out.value, headers=headers) is not None
