"""Transact: labels, dead letters and the input offset of one partition, all or nothing.

Every input partition has a producer with a transactional id of its own. Opening it fences the
worker that published that partition before (one that crashed, is paused or does not know yet that
it lost the partition) and settles its open transaction. Only then is the committed offset final: it
is read again, and records below it are done already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidTxnState, KafkaError
from aiokafka.structs import OffsetAndMetadata

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition
from stream_app.pipeline.outgoing import Outgoing
from stream_app.services.history.marks import written
from stream_app.services.reading.broker import Committed
from stream_app.services.sending.send import FAILURES, enqueue, started, stopped

TRANSACTION_TIMEOUT_MS = 15_000  # the broker aborts a transaction that its producer left open
PATIENCE_SECONDS = 30.0  # longer than that: by then the transaction is over, one way or the other


class InputWentBack(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The input lost what this assignment published: the consumer sees it too, and starts again."""


@dataclass(slots=True)
class _Lane:
    """One input partition: its producer, and the next offset to publish."""

    producer: AIOKafkaProducer
    next: int


class TransactionalSender:
    """Effectively once, for readers of committed records only."""

    def __init__(
        self,
        group: str,
        connect: Callable[[Partition], AIOKafkaProducer],
        committed: Callable[[Partition], Awaitable[Committed]],
    ) -> None:
        self._group = group
        self._connect = connect
        self._committed = committed  # the group's next offset
        self._lanes: dict[Partition, _Lane] = {}
        self._done: dict[Partition, int] = {}  # next offset, of every lane of this assignment
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        """See Sender: one transaction a partition, side by side."""
        by_partition: dict[Partition, list[Outgoing]] = {}
        for out in batch:
            by_partition.setdefault(out.source.partition, []).append(out)
        errors = await asyncio.gather(*(self._try(p, outs) for p, outs in by_partition.items()))
        failed = dict(zip(by_partition, errors, strict=True))
        return [failed[out.source.partition] for out in batch]

    def forget(self) -> None:
        """The lanes end here; a transaction still open is for the next owner to settle."""
        self._done.clear()
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            task = asyncio.get_running_loop().create_task(stopped(lane.producer))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """See Sender."""
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(stopped(lane.producer) for lane in lanes.values()), *self._closing)

    async def _try(self, partition: Partition, outs: list[Outgoing]) -> BaseException | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._transaction(partition, outs)
        except FAILURES as error:
            return error
        return None

    async def _transaction(self, partition: Partition, outs: list[Outgoing]) -> None:
        lane = self._lanes.get(partition) or await self._open(partition)
        todo = [out for out in outs if out.source.offset >= lane.next]
        if not todo:
            return  # a transaction of unknown outcome was committed after all
        after = todo[-1].source.offset + 1
        await lane.producer.begin_transaction()
        deliveries = await _enqueued(lane.producer, todo)
        offsets = {
            TopicPartition(*partition): OffsetAndMetadata(after, written(todo[-1].source.mark))
        }
        await asyncio.gather(
            lane.producer.send_offsets_to_transaction(offsets, self._group), *deliveries
        )
        await lane.producer.commit_transaction()
        lane.next = after
        if self._lanes.get(partition) is lane:
            self._done[partition] = after

    async def _open(self, partition: Partition) -> _Lane:
        producer = await started(self._connect(partition))
        try:
            committed = await self._committed(partition)
        except BaseException:
            await stopped(producer)
            raise
        if committed.offset < self._done.get(partition, 0):
            await stopped(producer)
            if committed.went_back:
                raise InputWentBack
            raise BrokerError(
                f"partition {partition.number} of {partition.topic}: the group's offset went back "
                f"to {committed.offset} from {self._done[partition]}; what lies between is not in "
                "memory any more: start the worker again"
            )
        lane = self._lanes[partition] = _Lane(producer, committed.offset)
        return lane


async def _enqueued(
    producer: AIOKafkaProducer, outs: Sequence[Outgoing]
) -> list[Awaitable[object]]:
    """Hand items to a producer in a transaction. Raises what ended the transaction meanwhile."""
    deliveries: list[Awaitable[object]] = []
    try:
        for out in outs:
            deliveries.append(await enqueue(producer, out))
    except AssertionError:  # aiokafka's way to say that the transaction has failed
        results = await asyncio.gather(*deliveries, return_exceptions=True)
        errors = (result for result in results if isinstance(result, BaseException))
        raise next(errors, InvalidTxnState()) from None
    return deliveries
