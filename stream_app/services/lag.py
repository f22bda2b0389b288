"""The lag monitor: how far each partition is behind, for health and readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from faust.types import TP
from mode import Service

from stream_app.core.health import Health
from stream_app.core.messages import Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.publisher import Publisher
from stream_app.services.reading.consumer import GuardedConsumer

EVERY_SECONDS = 2.0
PATIENCE_SECONDS = 10.0  # for the broker's answer


class LagMonitor(Service):
    """Looks at every owned partition every two seconds."""

    def __init__(
        self,
        consumer: GuardedConsumer,
        ask: Callable[[], Awaitable[object]],
        routes: Mapping[str, str],
        publishers: Mapping[str, Publisher],
        acks: AckTracker,
        metrics: Metrics,
        health: Health,
    ) -> None:
        super().__init__()
        self._consumer = consumer
        self._ask = ask  # raises where the broker does not answer
        self._routes = routes  # input topic -> route name
        self._publishers = publishers  # by route name
        self._acks = acks
        self._metrics = metrics
        self._health = health
        self._reached: dict[Partition, int] = {}
        self._moved: dict[Partition, bool] = {}  # since the last look
        self._shown: set[Partition] = set()

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            for name, publisher in self._publishers.items():
                self._health.unready(f"route {name}", publisher.failing)
            await self._look()
            await self.sleep(EVERY_SECONDS)

    async def _look(self) -> None:
        try:
            lags = await asyncio.wait_for(self._lags(), PATIENCE_SECONDS)
        except Exception as error:  # the broker is away: many unrelated types say so
            self._health.forgive()
            self._health.unready("broker", f"does not answer ({type(error).__name__})")
            return
        self._health.unready("broker", None)
        joined = self._consumer.joined
        self._health.unready("group", None if joined else "waiting for the consumer group")
        self._forget(self._shown - set(lags))
        self._shown = set(lags)
        for route in set(self._routes.values()):
            self._observe(route, {p: n for p, n in lags.items() if self._routes[p.topic] == route})

    async def _lags(self) -> dict[Partition, int]:
        """Records behind the end of every owned partition."""
        if not self._consumer.joined:
            await self._ask()  # without partitions nothing below would ask the broker
        tps = self._consumer.assignment()
        ends = await self._consumer.highwaters(*tps)
        lags = {}
        for partition in (Partition(*tp) for tp in tps):
            reached, end = await self._consumer.reached(partition), ends.get(TP(*partition)) or 0
            lags[partition] = max(0, end - reached)
            self._moved[partition] = self._reached.get(partition) != reached
            self._reached[partition] = reached
        await self._consumer.look()
        return lags

    def _observe(self, route: str, lags: Mapping[Partition, int]) -> None:
        oldest = self._acks.oldest()
        for partition, lag in lags.items():
            number = str(partition.number)
            self._metrics.lag_records.labels(route, number).set(lag)
            self._metrics.lag_seconds.labels(route, number).set(_age(oldest.get(partition)))
        # an output that fails is retried, unready but alive: a restart would not help
        failing = self._publishers[route].failing is not None
        moved = failing or any(self._moved[partition] for partition in lags)
        # outside the group the lag is unknown: a worker that cannot rejoin is stuck as well
        lag = sum(lags.values()) if self._consumer.joined else 1
        self._health.observe(route, lag, moved)

    def _forget(self, partitions: set[Partition]) -> None:
        """Partitions that moved to another worker are that worker's to report."""
        for partition in partitions:
            route, number = self._routes[partition.topic], str(partition.number)
            self._metrics.lag_records.remove(route, number)
            self._metrics.lag_seconds.remove(route, number)


def _age(record: Record | None) -> float:
    """Seconds since the record was written; 0 without a record or timestamp."""
    if record is None or record.timestamp is None:
        return 0.0
    return max(0.0, time.time() - record.timestamp / 1000)
