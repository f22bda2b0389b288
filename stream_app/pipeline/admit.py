"""Admission: how much of one route may be in flight, in records and in bytes.

A full route pauses its own partitions at the consumer. It never stops reading its stream: a full
stream would block the one delivery callback that all routes share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prometheus_client import Gauge

from stream_app.core.messages import Partition, Record

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
        max_records: int,
        max_bytes: int,
        valve: Callable[[], Valve],
        records_gauge: Gauge,
        bytes_gauge: Gauge,
    ) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._valve = valve
        self._paused: set[Partition] = set()
        self._records_gauge = records_gauge
        self._bytes_gauge = bytes_gauge
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
