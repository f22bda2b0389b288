"""Following the label and dead-letter topics into the history, on a thread, without a group.

Reading begins where the history stands; without one, at the beginning of the topics: what they
still hold is counted again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from kafka import KafkaConsumer

from stream_app.core.errors import BrokerError
from stream_app.core.health import Health
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.connect import connected
from stream_app.kafka.reading import partitions_of, record
from stream_app.kafka.topics import require_topics
from stream_app.web.dashboard.history import History
from stream_app.web.dashboard.sighting import Sighting, reader_of

log = logging.getLogger(__name__)

POLL_MS = 200
MAX_POLL_RECORDS = 5_000
LOOK_SECONDS = 30.0  # between two looks for new partitions, and at what may be dropped
RETRY_SECONDS = 2.0
RECONNECT_MAX_MS = 1_000  # by itself kafka-python waits 30 s

Lines = Sequence[tuple[int, Mapping[str, Any]]]


class Follower:
    """Reads until stopped. `tell` is given the lines of each batch, on this thread."""

    def __init__(
        self,
        kafka: KafkaSettings,
        routes: Sequence[RouteSettings],
        history: History,
        health: Health,
        tell: Callable[[Lines], None],
    ) -> None:
        self._kafka = kafka
        self._names = {route.name for route in routes}
        self._readers: dict[str, Callable[[Record], Sighting]] = {}
        for route in routes:
            self._readers[route.output_topic] = reader_of("label", route.name)
            self._readers[route.dead_letter_topic] = reader_of("dead", route.name)
        self._history = history
        self._health = health
        self._tell = tell
        self._stop = Event()
        self._strange = 0
        health.unready("topics", "the topics are not read yet")

    def run(self) -> None:
        """Read until `stop`. A broker that is away is waited for."""
        while not self._stop.is_set():
            try:
                require_topics(self._kafka, self._readers)
                with connected(
                    KafkaConsumer,
                    self._kafka,
                    isolation_level="read_committed",
                    enable_auto_commit=False,
                    reconnect_backoff_max_ms=RECONNECT_MAX_MS,
                    auto_offset_reset="earliest",  # of a topic that was made again, or expired
                    max_poll_records=MAX_POLL_RECORDS,
                ) as consumer:
                    self._health.unready("topics", None)
                    self._follow(consumer)
            except BrokerError as error:
                self._health.unready("topics", str(error))
                log.warning("%s", error)
                self._stop.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """Have `run` return, soon."""
        self._stop.set()

    def _follow(self, consumer: Any) -> None:
        looked = 0.0
        while not self._stop.is_set():
            if time.monotonic() - looked > LOOK_SECONDS:
                self._take_all(consumer)
                self._history.prune(int(time.time()))
                looked = time.monotonic()
            polled = consumer.poll(POLL_MS)
            if polled:
                records = [record(found) for each in polled.values() for found in each]
                reached = {
                    Partition(*partition): found[-1].offset + 1
                    for partition, found in polled.items()
                }
                self._tell(self._history.add(self._sighted(records), reached, int(time.time())))

    def _take_all(self, consumer: Any) -> None:
        """Read every partition there is, each from where the history stands."""
        found = {p for topic in self._readers for p in partitions_of(consumer, topic)}
        if found == consumer.assignment():
            return
        consumer.assign(sorted(found))
        positions = self._history.positions()
        for partition in found:
            first = consumer.beginning_offsets([partition])[partition]
            consumer.seek(partition, max(first, positions.get(Partition(*partition), 0)))

    def _sighted(self, records: Sequence[Record]) -> list[Sighting]:
        found = []
        for each in records:
            try:
                sighting = self._readers[each.partition.topic](each)
            except ValueError:
                self._strange += 1
                if self._strange == 1:
                    log.warning("%s is no label record: such records are not counted", each.id)
                continue
            if sighting.route in self._names:
                found.append(sighting)
        return found
