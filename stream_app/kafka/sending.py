"""Sending many records through kafka-python, a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from stream_app.core.errors import BrokerError
from stream_app.core.messages import Headers
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.connect import connected

MAX_RECORD_BYTES = 64 * 1024 * 1024
MAX_UNCONFIRMED_BYTES = 32 * 1024 * 1024  # kafka-python itself has no bound
ENVELOPE_BYTES = 1024  # of a record around its value, generously
DELIVERY_SECONDS = 60
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Sending:
    """Counts the outcomes of records sent; those too large for the topic are listed as refused.

    A record is confirmed by all in-sync replicas. One may come out twice where a connection broke.
    """

    def __init__(self, producer: Any, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._changed = Condition()
        self._unconfirmed = 0  # bytes
        self._failure: Exception | None = None
        self.confirmed = 0
        self.refused: list[str] = []

    def send(
        self, name: str, value: bytes, key: bytes | None = None, headers: Headers = ()
    ) -> None:
        """Send one record, once there is room. Raises BrokerError when a delivery has failed."""
        size = len(value) + ENVELOPE_BYTES
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._has_room(size))
            self._raise_failure()
            self._unconfirmed += size
        try:
            future = self._producer.send(self._topic, value, key, list(headers))
        except TOO_LARGE as error:
            self._done(name, size, error)
            return
        future.add_callback(lambda _: self._done(name, size, None))
        future.add_errback(lambda error: self._done(name, size, error))

    def finish(self) -> None:
        """Wait until everything sent is confirmed or refused. Raises BrokerError."""
        self._producer.flush(timeout=DELIVERY_SECONDS)
        with self._changed:
            self._raise_failure()

    def _has_room(self, size: int) -> bool:
        return not self._unconfirmed or self._unconfirmed + size <= MAX_UNCONFIRMED_BYTES

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise BrokerError(
                f"{self.confirmed} records were sent to {self._topic}, then the broker failed "
                f"({type(self._failure).__name__}): check it, and send the rest"
            ) from self._failure

    def _done(self, name: str, size: int, error: Exception | None) -> None:
        """Called on the producer's thread."""
        with self._changed:
            self._unconfirmed -= size
            if error is None:
                self.confirmed += 1
            elif isinstance(error, TOO_LARGE):
                self.refused.append(name)
            else:
                self._failure = error
            self._changed.notify_all()


@contextmanager
def producing(kafka: KafkaClientSettings, **config: Any) -> Iterator[Any]:
    """A producer whose records all in-sync replicas confirm; `config` is kafka-python's. Raises
    as `connected` does."""
    ours = {
        "acks": "all",
        # an idempotent kafka-python producer fails every record after one refused as too large
        "enable_idempotence": False,
        "max_request_size": MAX_RECORD_BYTES,
    }
    with connected(KafkaProducer, kafka, **ours, **config) as producer:
        yield producer


@contextmanager
def sending(kafka: KafkaClientSettings, topic: str, **config: Any) -> Iterator[Sending]:
    """Send records to a topic that exists; `config` is kafka-python's. Raises BrokerError."""
    with producing(
        kafka, delivery_timeout_ms=DELIVERY_SECONDS * 1000, linger_ms=5, **config
    ) as producer:
        yield Sending(producer, topic)
