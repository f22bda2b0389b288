"""How far the workers are behind: the group's committed offsets against the ends of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

from kafka import KafkaConsumer

from stream_app.core.errors import BrokerError
from stream_app.core.health import Health
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.access import check_access
from stream_app.kafka.connect import RECONNECT_MAX_MS, connected
from stream_app.kafka.reading import partitions_of

EVERY_SECONDS = 3.0


class Backlog:
    """Asks the broker every few seconds, and says so when it does not answer."""

    def __init__(
        self, kafka: KafkaSettings, routes: Sequence[RouteSettings], health: Health
    ) -> None:
        self._kafka = kafka
        self._routes = routes
        self._health = health
        self._stop = Event()
        self.lag: Mapping[str, int] = {}  # records by route, as far as it is known
        health.unready("broker", "the broker was not asked yet")

    def run(self) -> None:
        """Look until `stop`, on a thread of its own."""
        while not self._stop.is_set():
            try:
                with connected(
                    KafkaConsumer,
                    self._kafka,
                    group_id=self._kafka.group_id,  # never joined: only its offsets are asked for
                    enable_auto_commit=False,
                    reconnect_backoff_max_ms=RECONNECT_MAX_MS,
                ) as consumer:
                    self._watch(consumer)
            except BrokerError as error:
                self.lag = {}
                self._health.unready("broker", str(error))
                self._stop.wait(EVERY_SECONDS)

    def stop(self) -> None:
        """Have `run` return, soon."""
        self._stop.set()

    def _watch(self, consumer: Any) -> None:
        while not self._stop.is_set():
            check_access(self._kafka)  # a client hides for half a minute that nobody answers
            self.lag = {each.name: _lag(consumer, each.input_topic) for each in self._routes}
            self._health.unready("broker", None)
            self._stop.wait(EVERY_SECONDS)


def _lag(consumer: Any, topic: str) -> int:
    """Records of a topic that the group has not acked; those before its first commit as well."""
    partitions = partitions_of(consumer, topic)
    firsts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    return sum(
        max(0, ends[each] - max(firsts[each], consumer.committed(each) or 0)) for each in partitions
    )
