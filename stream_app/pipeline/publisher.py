"""The publisher: what a route sends, until the broker has confirmed all of it, in order.

A broker or an output topic that fails is never a record's fault: the batch is sent again until it
is confirmed. Whatever follows a failed record on its output partition is sent again after it, so
order is kept and duplicates are the price.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    InvalidTxnState,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownError,
    UnknownProducerId,
)
from prometheus_client import Counter

from stream_app.core.messages import Partition
from stream_app.pipeline.outgoing import Outgoing, Sender

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
MISSING = "If the topic is missing, make it: winnow topics create"
CLOCK = "This machine's clock is ahead of what the broker takes: set it"
# aiokafka has no name for what a broker says to a record without a key here
KEYLESS = (
    "Is the topic compacted? It takes no label of a record without a key: set its cleanup.policy "
    "to delete"
)
SLOW_SECONDS = 10.0
# the broker lost what it knew of a producer, or forgot it: a new one begins from nothing
FORGOTTEN = (
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
)


class Publisher:
    """One route's deliveries, by its sender; a sender that failed is restarted."""

    def __init__(
        self,
        route: str,
        sender: Sender,
        failures: Counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._route = route
        self._sender = sender
        self._failures = failures  # route already bound
        self._sleep = sleep
        self._idle = asyncio.Event()
        self._idle.set()
        self._renewed = False  # whether a new producer was tried for what is not confirmed
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

    def forget(self) -> None:
        """All partitions were revoked."""
        self._sender.forget()

    async def close(self) -> None:
        """Stop the producers; what they have not confirmed is not acked anyway."""
        await self._sender.close()

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
                await self._pause(failed[0], pending)
        self.failing, self._renewed = None, False  # delivered, or no longer ours to deliver
        return not pending

    async def _send(self, batch: list[Outgoing]) -> list[BaseException | None]:
        """The sender's results. It may wait for its broker without limit: log when it is slow."""
        sending = asyncio.ensure_future(self._sender.send(batch))
        done, _ = await asyncio.wait({sending}, timeout=SLOW_SECONDS)
        if not done:
            self.failing = f"topic {batch[0].topic}: nothing confirmed for {SLOW_SECONDS:.0f} s"
            log.error("route %s: %s; still waiting", self._route, self.failing)
        return await sending

    async def _one_by_one(self, pending: list[Outgoing]) -> list[Outgoing]:
        """Some are too large: alone each may pass, and one that does not is replaced."""
        await self._sender.close()
        for index, out in enumerate(pending):
            while (error := (await self._send([out]))[0]) is not None:
                if not isinstance(error, MessageSizeTooLargeError) or out.fallback is None:
                    left = [out, *pending[index + 1 :]]
                    await self._pause(error, left)
                    return left
                out = out.fallback()
                await self._sender.close()
        return []

    async def _pause(self, error: BaseException, pending: Sequence[Outgoing]) -> None:
        """Wait before `pending` is sent again: the first of it met the error."""
        topic = pending[0].topic
        self._failures.inc()
        if isinstance(error, FORGOTTEN) and not self._renewed:  # no outage
            self._renewed = True
            log.warning(
                "route %s: the broker no longer knows our producer (%s); a new one sends again "
                "what is not confirmed",
                self._route,
                type(error).__name__,
            )
            await self._sender.close()
            return
        self.failing = f"topic {topic}: {type(error).__name__}"
        if isinstance(error, ProducerFenced):
            log.warning(
                "route %s: a transaction took too long, or another worker has its partition; "
                "it starts again unless the partition is revoked",
                self._route,
            )
        else:
            log.error(
                "route %s: cannot write to topic %s (%s); will retry until it works. %s",
                self._route,
                topic,
                type(error).__name__,
                _hint(error, pending),
            )
        await self._sender.close()
        await self._sleep(RETRY_SECONDS)


def _hint(error: BaseException, pending: Sequence[Outgoing]) -> str:
    """What to do about an error that the first of `pending` met."""
    if isinstance(error, InvalidTimestampError):
        return CLOCK
    same_topic = [out for out in pending if out.topic == pending[0].topic]
    if isinstance(error, UnknownError) and any(out.key is None for out in same_topic):
        return KEYLESS
    return MISSING


def _again(batch: Sequence[Outgoing], results: Sequence[BaseException | None]) -> list[Outgoing]:
    """What must be sent (again), in order: failed items and all behind them on their partition."""
    blocked: set[tuple[str, Partition]] = set()
    again = []
    for out, error in zip(batch, results, strict=True):
        lane = (out.topic, out.source.partition)
        if error is not None:
            blocked.add(lane)
        if lane in blocked:
            again.append(out)
    return again
