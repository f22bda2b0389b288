"""The loop of every sink: labels from their topics to an effect, then the commit of their offsets.

    poll -> batch -> effect.write -> commit

At least once, and nothing skipped: an offset is committed only when the effect of every label
before it is durable. While it cannot be written the sink is unready, its lag grows and it tries
again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Event
from typing import Any, Protocol

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from pydantic import Field, ValidationError

from stream_app.core.errors import BrokerError, SinkError
from stream_app.core.health import Health
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Headers
from stream_app.core.metrics import Metrics
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.connect import RECONNECT_MAX_MS, connected
from stream_app.kafka.reading import LOOK_MS, record, subscribe
from stream_app.kafka.topics import require_topics
from stream_app.sinks.batch import Batch

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0  # for a broker, or an effect that cannot begin
LOOK_SECONDS = 2.0  # between two looks at the lag
SLOW_SECONDS = 5.0  # for a write: then nobody should count on it
MAX_POLL_INTERVAL_MS = 300_000  # Kafka's default; no write may take so long


class Received(LabelRecord):
    """A label as it came: with its record's headers, which may be of the input's producer."""

    headers: Headers = Field((), exclude=True)


class Effect(Protocol):
    """What a sink does with labels. It is called on one thread, which is not the event loop's."""

    def check(self) -> None:
        """Whether it can write, asked before the first label. Raises as `write` does."""

    def write(self, labels: Sequence[Received]) -> int:
        """Return once the effect of all labels is durable. One may come again: do it once.

        The number is of those that were refused for good: counted, logged by id, passed over.
        Raises SinkError where they should be tried again: the next call has these labels, perhaps
        with more behind them. Any other error ends the process. May take two minutes.
        """

    def close(self) -> None:
        """Let go of what is open."""


class Follower:
    """Follows the label topics of routes in the consumer group `<group_id>-sink-<name>`."""

    def __init__(
        self,
        name: str,
        effect: Effect,
        kafka: KafkaSettings,
        routes: Sequence[RouteSettings],
        metrics: Metrics,
        health: Health,
        most: int,
        dead_letters: str = "",
    ) -> None:
        """`most` labels are written at once. Those of a topic of dead letters are followed to its
        end only."""
        kafka.client_arguments()  # raises ConfigError here rather than for ever in `run`
        self._name = name
        self._effect = effect
        self._kafka = kafka
        self._routes = {route.name for route in routes}
        self._to_end = bool(dead_letters)
        self._topics = (
            [dead_letters] if dead_letters else sorted({route.output_topic for route in routes})
        )
        self._metrics = metrics
        self._health = health
        self._most = most
        self._stop = Event()
        self._look_at = 0.0

    def stop(self) -> None:
        """Have `run` return after the write under way; from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Follow until stopped; a broker that is away is waited for. Raises what the effect does,
        other than SinkError."""
        self._health.unready("broker", "not connected yet")
        try:
            self._await_effect()
            while not self._stop.is_set():
                try:
                    self._follow()
                except (BrokerError, KafkaError) as error:
                    self._health.forgive()
                    self._health.unready("broker", str(error) or type(error).__name__)
                    log.warning("no labels for now: %s", error)
                    self._stop.wait(RETRY_SECONDS)
        finally:
            self._effect.close()

    def _await_effect(self) -> None:
        while not self._stop.is_set():
            try:
                with self._health.at_work(self._name, SLOW_SECONDS):
                    self._effect.check()
                self._health.unready(self._name, None)
                return
            except SinkError as error:
                self._failed(error)
                self._stop.wait(max(RETRY_SECONDS, error.wait_seconds))

    def _follow(self) -> None:
        """One membership of the group."""
        require_topics(self._kafka, self._topics)
        with connected(KafkaConsumer, self._kafka, **self._membership()) as consumer:
            batch = Batch(consumer, self._most)
            subscribe(consumer, self._topics, listener=batch)
            while not self._stop.is_set():
                self._count("missed", batch.poll())
                if batch.is_due:
                    self._write(batch)
                self._look(batch)
                if self._to_end and batch.at_end():
                    log.info("all of %s is done", self._topics[0])
                    self.stop()

    def _membership(self) -> dict[str, Any]:
        kafka = self._kafka
        return {
            "group_id": f"{kafka.group_id}-sink-{self._name}",
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "session_timeout_ms": int(kafka.session_timeout_seconds * 1000),
            "heartbeat_interval_ms": int(kafka.heartbeat_interval_seconds * 1000),
            "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
            "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
            "metadata_max_age_ms": LOOK_MS,
        }

    def _write(self, batch: Batch) -> None:
        labels = self._labels(batch.records)
        try:
            with (
                self._metrics.sink_write_seconds.labels(self._name).time(),
                self._health.at_work(self._name, SLOW_SECONDS),
            ):
                refused = self._effect.write(labels) if labels else 0
        except SinkError as error:
            self._failed(error)
            batch.put_off(error.wait_seconds)
            return
        self._health.unready(self._name, None)
        self._count("written", len(labels) - refused)
        self._count("refused", refused)
        batch.commit()

    def _labels(self, records: Sequence[Any]) -> list[Received]:
        """The labels of our routes in records; anyone may write to a topic."""
        found = []
        for each in map(record, records):
            try:
                label = Received.model_validate_json(each.value or b"")
            except ValidationError:
                log.warning("%s is no label record: passed over", each.id)
                self._count("invalid", 1)
                continue
            if label.route in self._routes:
                found.append(label.model_copy(update={"headers": each.headers}))
        return found

    def _failed(self, error: SinkError) -> None:
        self._metrics.sink_failures.labels(self._name).inc()
        self._health.unready(self._name, str(error))
        log.warning("to be tried again: %s", error)

    def _count(self, outcome: str, records: int) -> None:
        if records:
            self._metrics.sink_records.labels(self._name, outcome).inc(records)

    def _look(self, batch: Batch) -> None:
        """Show how far behind we are, every two seconds."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        self._health.unready("broker", None)
        self._health.unready("group", None if batch.joined else "waiting for the consumer group")
        lags = batch.lags()
        for topic in self._topics:
            self._metrics.sink_lag_records.labels(self._name, topic).set(lags.get(topic, 0))
        self._metrics.sink_lag_seconds.labels(self._name).set(batch.age)
        # a thread that hangs looks no more, and is found stuck; nothing else calls for a restart
        self._health.observe(self._name, 1, moved=True)
