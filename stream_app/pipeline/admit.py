"""Admit: which records come in, and how much of one route may be in flight, in records and bytes.

A full route pauses its own partitions at the consumer. It never stops reading its stream: a full
stream would block the one delivery callback that all routes share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from stream_app.core.messages import Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.work import Work
from stream_app.serving.models import Models

if TYPE_CHECKING:
    from stream_app.pipeline.spans import Spans  # of an extra

BATCHES_IN_FLIGHT = 8  # where the route gives no limit: two on the device, the others on their way
RESUME_AT = 0.5  # of the limit: low enough not to flap, high enough not to run dry


class Valve(Protocol):
    """What can stop and start the flow of a partition: the consumer."""

    def pause(self, partition: Partition) -> None:
        """Fetch no more of this partition; what is already fetched still comes."""
        ...

    def resume(self, partition: Partition) -> None:
        """Fetch it again."""
        ...


class InFlight:
    """Counts what one route holds, from delivery until it is acked or dropped."""

    def __init__(
        self,
        settings: LabelSettings,
        batch_records: int,
        valve: Callable[[], Valve],
        metrics: Metrics,
    ) -> None:
        self._max_records = settings.max_in_flight_records or BATCHES_IN_FLIGHT * batch_records
        self._max_bytes = settings.max_in_flight_bytes
        self._valve = valve
        self._paused: set[Partition] = set()
        self._records_gauge = metrics.in_flight_records.labels(settings.name)
        self._bytes_gauge = metrics.in_flight_bytes.labels(settings.name)
        self.records = 0
        self.bytes = 0

    def enter(self, record: Record) -> None:
        """Count a delivered record; at the limit its partition is paused."""
        self._count(1, record.size)
        if self.records >= self._max_records or self.bytes >= self._max_bytes:
            self._valve().pause(record.partition)
            self._paused.add(record.partition)

    def leave(self, record: Record) -> None:
        """The record is acked or dropped; below half of both limits the flow resumes."""
        self._count(-1, -record.size)
        if self._paused and not self.crowded:
            for partition in self._paused:
                self._valve().resume(partition)
            self._paused.clear()

    @property
    def crowded(self) -> bool:
        """Whether the route has more than half of what it may hold: it is busy catching up."""
        return (
            self.records > self._max_records * RESUME_AT or self.bytes > self._max_bytes * RESUME_AT
        )

    def forget(self) -> None:
        """All partitions were revoked: there is nothing to resume."""
        self._paused.clear()

    def _count(self, records: int, size: int) -> None:
        self.records += records
        self.bytes += size
        self._records_gauge.set(self.records)
        self._bytes_gauge.set(self.bytes)


class Admission:
    """The step that lets records in, and out again. Runs on the event loop."""

    def __init__(
        self,
        settings: LabelSettings,
        models: Models,
        acks: AckTracker,
        in_flight: InFlight,
        metrics: Metrics,
        spans: Spans | None = None,
    ) -> None:
        self._models = models
        self._acks = acks
        self._in_flight = in_flight
        self._spans = spans
        self._consumed = metrics.consumed.labels(settings.name)

    def admit(self, record: Record) -> Work | None:
        """Take a record in: until dropped it counts as in flight, and keeps its model loaded.

        None where this assignment already delivered it.
        """
        self._consumed.inc()
        if not self._acks.deliver(record):
            return None
        self._in_flight.enter(record)
        work = Work(record, self._models.begin(record))
        if self._spans:
            self._spans.begin(work)
        return work

    def owned(self, works: Sequence[Work]) -> list[Work]:
        """The works whose partition is still ours; the others were revoked, and end here."""
        owned = [work for work in works if self._acks.owns(work.record)]
        if len(owned) < len(works):
            self.drop([work for work in works if not self._acks.owns(work.record)])
        return owned

    def drop(self, works: Sequence[Work]) -> None:
        """Give the room and the model of works back, acked or not."""
        for work in works:
            self._in_flight.leave(work.record)
            self._models.end(work.model)
        if self._spans:
            self._spans.end(works)
