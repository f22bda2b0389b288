"""Following the label and dead-letter topics into the history, on a thread, without a group.

Reading begins where the history stands; without one, at the beginning of the topics: what they
still hold is counted again.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from kafka import KafkaConsumer

from stream_app.core.errors import BrokerError
from stream_app.core.health import Health
from stream_app.core.logs import EACH
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.broker import topic_ids
from stream_app.kafka.connect import RECONNECT_MAX_MS, connected
from stream_app.kafka.reading import partitions_of, record
from stream_app.kafka.topics import require_topics
from stream_app.web.dashboard.history import History
from stream_app.web.dashboard.sighting import Sighting, reader_of

log = logging.getLogger(__name__)

POLL_MS = 200
MAX_POLL_RECORDS = 5_000
LOOK_SECONDS = 5.0  # between two looks for new partitions, and topics made again
PRUNE_SECONDS = 600.0  # between two looks at what may be dropped
RETRY_SECONDS = 2.0

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
        self._ids: Mapping[str, str] = {}  # of the topics that are read
        health.unready("topics", "the topics are not read yet")

    def run(self) -> None:
        """Read until `stop`. A broker that is away, or a disk that is full, is waited for."""
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
                self._wait(str(error))
            except sqlite3.Error as error:  # nothing was counted, so it is read again
                self._wait(f"the history cannot be written ({error}): is there room on its disk?")

    def _wait(self, why: str) -> None:
        self._health.unready("topics", why)
        log.warning("%s", why)
        self._stop.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """Have `run` return, soon."""
        self._stop.set()

    def _follow(self, consumer: Any) -> None:
        looked = pruned = -math.inf
        while not self._stop.is_set():
            now = time.monotonic()
            if now - looked > LOOK_SECONDS:
                self._take_all(consumer)
                looked = now
            if now - pruned > PRUNE_SECONDS:
                self._history.prune(int(time.time()))
                pruned = now
            polled = consumer.poll(POLL_MS)
            if polled:
                self._count(polled)

    def _take_all(self, consumer: Any) -> None:
        """Read every partition there is, each from where the history stands. A topic that was made
        again is read from its beginning: its offsets are no longer those that the history knows."""
        ids = {t: number for t, number in topic_ids(self._kafka).items() if t in self._readers}
        found = {p for topic in self._readers for p in partitions_of(consumer, topic)}
        if found == consumer.assignment() and ids == self._ids:
            return
        self._ids = ids
        consumer.assign(sorted(found))
        positions = self._history.positions()
        for partition in found:
            first = consumer.beginning_offsets([partition])[partition]
            reached = positions.get(self._log(partition))
            if reached is not None and reached < first:
                log.warning(
                    "offsets %d to %d of topic %s, partition %d, were deleted before they were "
                    "counted",
                    reached,
                    first - 1,
                    partition.topic,
                    partition.partition,
                    extra=EACH,
                )
            consumer.seek(partition, max(first, reached or 0))

    def _log(self, partition: Any) -> Partition:
        """A partition of a topic as it is now, by which the history knows it."""
        topic_id = self._ids.get(partition.topic, "")
        return Partition(f"{partition.topic} {topic_id}", partition.partition)

    def _count(self, polled: Mapping[Any, Sequence[Any]]) -> None:
        records = [record(found) for each in polled.values() for found in each]
        reached = {self._log(place): found[-1].offset + 1 for place, found in polled.items()}
        self._tell(self._history.add(self._sighted(records), reached, int(time.time())))

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
