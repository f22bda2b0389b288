"""Sending what a source found to its input topic, and knowing when the broker has it.

A source moves its state only behind a delivery: so it loses nothing, whatever dies, and what was
delivered but not noted yet comes out twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError, BrokerUnreachable
from stream_app.core.health import Health
from stream_app.core.messages import Headers
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.connect import RECONNECT_MAX_MS
from stream_app.kafka.sending import TOO_LARGE, producing
from stream_app.kafka.topics import require_topics

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
DELIVERY_MS = 10_000  # then the connection is made anew, which says why it cannot be
STOP_SECONDS = 10.0  # that a delivery under way still has when the process is told to stop
HEALTH = "broker"


@dataclass(frozen=True, slots=True)
class Item:
    """A record to be. `name` tells a person where it comes from, without text of it.

    `timestamp` is in milliseconds since the epoch; one of the future becomes now, because brokers
    refuse a whole batch for it. None: now.
    """

    name: str
    value: bytes
    key: bytes | None = None
    timestamp: int | None = None
    headers: Headers = ()


class Delivery:
    """Delivers to one topic; made by `delivering`. A broker that is away is waited for."""

    def __init__(
        self, source: str, kafka: KafkaClientSettings, topic: str, metrics: Metrics, health: Health
    ) -> None:
        self._source = source
        self._kafka = kafka
        self._topic = topic
        self._metrics = metrics
        self._health = health
        self._connection = ExitStack()
        self._producer: Any = None  # while connected
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "delivery")  # kafka-python may wait for metadata

    async def deliver(self, items: Sequence[Item]) -> list[Item]:
        """Return when all in-sync replicas have each item; those too large for the topic are
        returned. Items of one key stay in order, unless the broker was away meanwhile.

        Raises AccessError where the broker refuses us, BrokerError where it refuses the records.
        """
        refused: list[Item] = []
        async with self._turn:
            left = list(items)
            while left:
                await self.connect()
                left = self._failed(left, await self._attempt(left), refused)
                if left:
                    await self.disconnect()
        self._metrics.ingested.labels(self._source, "delivered").inc(len(items) - len(refused))
        self._metrics.ingested.labels(self._source, "too_large").inc(len(refused))
        return refused

    async def settle(self, items: Sequence[Item], note: Callable[[list[Item]], None]) -> None:
        """Deliver items, then have `note` keep that, given those that were refused.

        Cancelled meanwhile it still does both, for STOP_SECONDS: a restart then sends nothing
        twice. Raises as `deliver` does.
        """

        async def deliver() -> None:
            note(await self.deliver(items))

        settling = asyncio.ensure_future(deliver())
        try:
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            await asyncio.wait({settling}, timeout=STOP_SECONDS)
            settling.cancel()
            raise

    async def connect(self) -> None:
        """Be connected, however long that takes. Raises AccessError, BrokerError for a topic that
        does not exist, ConfigError for a file of `[kafka]`."""
        while self._producer is None:
            try:
                await self._run(self._open)
            except BrokerError as error:
                if not _may_pass(error):
                    raise
                self._wait(str(error))
                log.warning("%s wait: %s", self._source, error)
                await asyncio.sleep(RETRY_SECONDS)
        self._health.unready(HEALTH, None)

    def _wait(self, why: str) -> None:
        """Show that the broker is waited for: nobody is stuck meanwhile."""
        self._health.unready(HEALTH, why)
        self._health.forgive()

    async def disconnect(self) -> None:
        """Hang up. What is under way still has DELIVERY_MS to be confirmed."""
        await self._run(self._close)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _open(self) -> None:
        require_topics(self._kafka, [self._topic])
        self._producer = self._connection.enter_context(
            producing(
                self._kafka,
                delivery_timeout_ms=DELIVERY_MS,
                request_timeout_ms=DELIVERY_MS // 2,
                max_block_ms=DELIVERY_MS,
                reconnect_backoff_max_ms=RECONNECT_MAX_MS,
                max_in_flight_requests_per_connection=1,  # a retry would overtake
                linger_ms=5,
            )
        )

    def _close(self) -> None:
        self._producer = None
        self._connection.close()

    async def _attempt(self, items: Sequence[Item]) -> Sequence[Any]:
        """The outcome of each item: where it is, or a KafkaError."""
        loop = asyncio.get_running_loop()
        outcomes: list[asyncio.Future[Any]] = [loop.create_future() for _ in items]
        now = round(time.time() * 1000)

        def send_all() -> None:
            for item, outcome in zip(items, outcomes, strict=True):
                when = None if item.timestamp is None else min(item.timestamp, now)
                settle = _Settle(loop, outcome)
                try:
                    what = (item.value, item.key, list(item.headers), None, when)
                    sent = self._producer.send(self._topic, *what)
                except KafkaError as error:
                    settle(error)
                else:
                    sent.add_callback(settle).add_errback(settle)

        await self._run(send_all)
        return await asyncio.gather(*outcomes)

    def _failed(
        self, items: Sequence[Item], outcomes: Sequence[Any], refused: list[Item]
    ) -> list[Item]:
        """The items to be sent again; those that never will be are added to `refused`."""
        again: list[Item] = []
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, TOO_LARGE):
                refused.append(item)
            elif isinstance(outcome, KafkaError):
                if not _is_retriable(outcome):
                    raise BrokerError(
                        f"the broker refuses records for {self._topic} "
                        f"({type(outcome).__name__}): check its log and our rights"
                    ) from outcome
                self._wait(f"it confirms nothing ({type(outcome).__name__})")
                again.append(item)
        return again


class _Settle:
    """Has the loop know an outcome; called on the producer's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[Any]) -> None:
        self._loop = loop
        self._outcome = outcome

    def __call__(self, found: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._set, found)

    def _set(self, found: Any) -> None:
        if not self._outcome.done():  # else nobody waits any more
            self._outcome.set_result(found)


def _may_pass(error: BrokerError) -> bool:
    """Whether connecting again may help: no broker answers, or one stopped to."""
    return isinstance(error, BrokerUnreachable) or _is_retriable(error.__cause__)


def _is_retriable(error: BaseException | None) -> bool:
    return isinstance(error, KafkaError) and bool(error.retriable)


@asynccontextmanager
async def delivering(
    source: str, kafka: KafkaClientSettings, topic: str, metrics: Metrics, health: Health
) -> AsyncIterator[Delivery]:
    """A delivery for the length of the block, connected at the first item. `source` names the
    metric's label. Raises ConfigError for a file of `[kafka]` that cannot be used."""
    kafka.client_arguments()
    delivery = Delivery(source, kafka, topic, metrics, health)
    try:
        yield delivery
    finally:
        await delivery.disconnect()
