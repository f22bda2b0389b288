"""Publish: labels and dead letters to their topics, confirmed by the broker, in order.

A broker or an output topic that fails is never a record's fault: the batch is sent again until it
is confirmed. Whatever follows a failed record on its output partition is sent again after it, so
order is kept and duplicates are the price.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from prometheus_client import Counter

from stream_app.pipeline.dead_letter import Outgoing

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
SLOW_SECONDS = 10.0


class Publisher:
    """One route's idempotent producer. A failed producer is replaced: its sequence is in doubt."""

    def __init__(
        self,
        route: str,
        connect: Callable[[], AIOKafkaProducer],
        failures: Counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._route = route
        self._connect = connect
        self._failures = failures  # route already bound
        self._sleep = sleep
        self._producer: AIOKafkaProducer | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.failing: str | None = None  # why the last delivery failed; None once one succeeds

    async def publish(
        self, batch: Sequence[Outgoing], wanted: Callable[[], bool] = lambda: True
    ) -> bool:
        """Send a batch and wait until the broker has all of it; False when no longer `wanted`."""
        self._idle.clear()
        try:
            return await self._publish(list(batch), wanted)
        finally:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no delivery is under way."""
        await self._idle.wait()

    async def _publish(self, pending: list[Outgoing], wanted: Callable[[], bool]) -> bool:
        while pending and wanted():
            results = await self._send(pending)
            pending = _again(pending, results)
            if not pending:
                break
            failed = [r for r in results if isinstance(r, BaseException)]
            if all(isinstance(error, MessageSizeTooLargeError) for error in failed):
                pending = await self._one_by_one(pending)
            else:
                await self._pause(failed[0], pending[0].topic)
        self.failing = None  # all is delivered, or no longer ours to deliver
        return not pending

    async def close(self) -> None:
        """Stop the producer; what it has not confirmed is not acked anyway."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), CLOSE_SECONDS)
            except (TimeoutError, KafkaError, OSError) as error:
                log.warning("route %s: producer did not stop cleanly (%r)", self._route, error)

    async def _send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        """One result an item, in order: None once the broker has it, else what went wrong."""
        deliveries: list[Awaitable[object]] = []
        refused: BaseException | None = None
        try:
            producer = await self._open()
            for out in batch:
                deliveries.append(await self._enqueue(producer, out))
        except (KafkaError, OSError, TimeoutError) as error:
            refused = error
        done = await self._confirmed(deliveries, batch[0].topic)
        results = [r if isinstance(r, BaseException) else None for r in done]
        return results + [refused] * (len(batch) - len(results))

    async def _confirmed(self, deliveries: Sequence[Awaitable[object]], topic: str) -> list[object]:
        """What became of each delivery. An idempotent one never gives up: say when it is slow."""
        waiting = asyncio.gather(*deliveries, return_exceptions=True)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), SLOW_SECONDS)
        except TimeoutError:
            self.failing = f"topic {topic}: nothing confirmed for {SLOW_SECONDS:.0f} s"
            log.error("route %s: %s; still waiting", self._route, self.failing)
            return await waiting

    async def _enqueue(self, producer: AIOKafkaProducer, out: Outgoing) -> Awaitable[object]:
        partitions = await producer.partitions_for(out.topic)
        delivery: Awaitable[object] = await producer.send(
            out.topic,
            key=out.key,
            value=out.value,
            headers=list(out.headers),
            partition=out.partition % len(partitions),
        )
        return delivery

    async def _one_by_one(self, pending: list[Outgoing]) -> list[Outgoing]:
        """Some are too large: alone each may pass, and one that does not is replaced."""
        await self.close()
        for index, out in enumerate(pending):
            while (error := (await self._send([out]))[0]) is not None:
                if not isinstance(error, MessageSizeTooLargeError) or out.fallback is None:
                    await self._pause(error, out.topic)
                    return [out, *pending[index + 1 :]]
                out = out.fallback()
                await self.close()
        return []

    async def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self._connect()
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _pause(self, error: BaseException, topic: str) -> None:
        self._failures.inc()
        self.failing = f"topic {topic}: {type(error).__name__}"
        log.error(
            "route %s: cannot write to topic %s (%s); will retry until it works. If the topic is "
            "missing, make it: winnow topics create",
            self._route,
            topic,
            type(error).__name__,
        )
        await self.close()
        await self._sleep(RETRY_SECONDS)


def _again(batch: Sequence[Outgoing], results: Sequence[BaseException | None]) -> list[Outgoing]:
    """What must be sent (again), in order: failed items and all behind them on their partition."""
    blocked: set[tuple[str, int]] = set()
    again = []
    for out, error in zip(batch, results, strict=True):
        lane = (out.topic, out.partition)
        if error is not None:
            blocked.add(lane)
        if lane in blocked:
            again.append(out)
    return again
