"""Copies records to the review topics, on the side: a label never waits for its copy.

A random share measures the model; records it is unsure of improve it. The choice depends on the
record's id alone, so a record that is labelled again after a crash is not drawn again.

A copy is lost if the broker refuses it, the queue is full or the worker ends. Losses are counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from mode import Service

from stream_app.core.headers import (
    CONFIDENCE,
    LABEL,
    ORIGIN_ID,
    ROUTE,
    encoded,
    foreign,
    of_mark,
)
from stream_app.core.messages import UNSURE, Headers, Prediction, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import RouteSettings
from stream_app.pipeline.work import Work
from stream_app.services.sending.send import FAILURES, started, stopped

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_WAITING_RECORDS = 1000


def wanted(first_id: str, prediction: Prediction, route: RouteSettings) -> bool:
    """Whether a person should look at the record that had this id first: at words that a model
    could learn from."""
    if not prediction.scored:
        return False
    if route.review_unsure and prediction.decision == UNSURE:
        return True
    drawn = hashlib.blake2b(first_id.encode(), digest_size=8).digest()
    return int.from_bytes(drawn) < route.review_share * 2**64


def review_headers(record: Record, first_id: str, prediction: Prediction, route: str) -> Headers:
    """The record's own, the id of its label record and its log, and the model's label and
    confidence."""
    told = encoded(
        (ORIGIN_ID, first_id),
        (ROUTE, route),
        (LABEL, prediction.label),
        (CONFIDENCE, f"{prediction.confidence:.4f}"),
    )
    return (*foreign(record.headers), *told, *of_mark(record.mark))


class ReviewCopier(Service):
    """One route's copies, by a producer of their own."""

    def __init__(
        self,
        route: RouteSettings,
        connect: Callable[[], AIOKafkaProducer],
        metrics: Metrics,
    ) -> None:
        super().__init__()
        self._route = route
        self._connect = connect
        self._metrics = metrics
        self._producer: AIOKafkaProducer | None = None
        self._waiting: asyncio.Queue[tuple[Record, str, Prediction]] = asyncio.Queue(
            MAX_WAITING_RECORDS
        )
        self._bytes = 0

    def observe(self, works: Sequence[Work]) -> None:
        """Take in works whose labels are confirmed. On the event loop; never waits."""
        for work in works:
            if work.prediction is not None and wanted(work.id, work.prediction, self._route):
                self._take(work.record, work.id, work.prediction)

    async def on_stop(self) -> None:
        """What still waits is given up."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    def _take(self, record: Record, first_id: str, prediction: Prediction) -> None:
        if self._waiting.full() or self._bytes + record.size > MAX_WAITING_BYTES:
            self._count("dropped")
            return
        self._bytes += record.size
        self._waiting.put_nowait((record, first_id, prediction))

    @Service.task
    async def _copy(self) -> None:
        while not self.should_stop:
            record, first_id, prediction = await self._waiting.get()
            self._bytes -= record.size
            self._count(await self._sent(record, first_id, prediction))

    async def _sent(self, record: Record, first_id: str, prediction: Prediction) -> str:
        """The outcome of one copy."""
        try:
            if self._producer is None:
                self._producer = await started(self._connect())
            await self._producer.send_and_wait(
                self._route.review_topic,
                record.value,
                record.key,
                timestamp_ms=record.timestamp,
                headers=list(review_headers(record, first_id, prediction, self._route.name)),
            )
        except FAILURES as error:
            topic, name = self._route.review_topic, type(error).__name__
            log.warning(
                "route %s: a copy for review is lost: %s: %s", self._route.name, topic, name
            )
            await self.on_stop()  # the next copy tries with a new one
            return "failed"
        return "copied"

    def _count(self, outcome: str) -> None:
        self._metrics.reviewed.labels(self._route.name, outcome).inc()
