"""Acknowledgement: which offset may be committed, and nothing beyond it.

An offset is safe when every record delivered before it on its partition is done. "Before" is
delivery order, not arithmetic: compaction and transactions leave gaps between offsets.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from stream_app.core.messages import UNSURE, Partition, Record
from stream_app.core.metrics import Metrics
from stream_app.core.settings import LabelSettings
from stream_app.pipeline.work import Work

LOW_CONFIDENCE = "low_confidence"  # the reason of a decision `unsure` that has no mark

# told of works whose labels are confirmed; on the event loop, so it never waits
Observer = Callable[[Sequence[Work]], None]


class AckTracker:
    """Follows the records of every partition this process owns. Used on the event loop only."""

    def __init__(self) -> None:
        self._open: dict[Partition, OrderedDict[int, Record]] = {}
        self._done: dict[Partition, set[int]] = {}
        self._last: dict[Partition, int] = {}  # last offset delivered
        self._positions: dict[Partition, int] = {}  # next offset to commit
        self._frozen = False

    def deliver(self, record: Record) -> bool:
        """Start following a record; False when this assignment already delivered it."""
        partition = record.partition
        if record.offset <= self._last.get(partition, -1):
            return False
        self._last[partition] = record.offset
        self._open.setdefault(partition, OrderedDict())[record.offset] = record
        return True

    def done(self, record: Record) -> None:
        """The record's label or dead letter is confirmed; the safe prefix may grow."""
        queue = self._open.get(record.partition)
        if queue is None or queue.get(record.offset) is not record:
            return  # delivered by an earlier assignment: another worker has it now
        done = self._done.setdefault(record.partition, set())
        done.add(record.offset)
        while queue and (first := next(iter(queue))) in done:
            del queue[first]
            done.discard(first)
            self._positions[record.partition] = first + 1

    def owns(self, record: Record) -> bool:
        """Whether to continue: delivered under this assignment, not done, not frozen."""
        queue = self._open.get(record.partition)
        return queue is not None and queue.get(record.offset) is record and not self._frozen

    def freeze(self) -> None:
        """Partitions are about to go: start nothing more, but `done` still counts."""
        self._frozen = True

    def positions(self) -> dict[Partition, int]:
        """The next offset to commit of every partition that made progress."""
        return dict(self._positions)

    def oldest(self) -> dict[Partition, Record]:
        """The oldest record still open of every partition that has one."""
        return {p: next(iter(queue.values())) for p, queue in self._open.items() if queue}

    def delivered(self, partition: Partition) -> int:
        """The last offset delivered under this assignment; -1 before the first."""
        return self._last.get(partition, -1)

    def forget(self) -> None:
        """No partition is ours any longer: what is in flight must not be acked."""
        for state in (self._open, self._done, self._last, self._positions):
            state.clear()
        self._frozen = False


class Ack:
    """The step. Runs on the event loop."""

    def __init__(
        self,
        settings: LabelSettings,
        acks: AckTracker,
        metrics: Metrics,
        observers: Sequence[Observer],
    ) -> None:
        self._route = settings.name
        self._acks = acks
        self._metrics = metrics
        self._observers = observers

    def __call__(self, works: Sequence[Work]) -> None:
        """These works are confirmed: their offsets may be committed."""
        now = time.time()
        for work in works:
            self._acks.done(work.record)
            self._count(work, now)
        for observe in self._observers:
            observe(works)

    def _count(self, work: Work, now: float) -> None:
        name, version, metrics = self._route, work.model.version.version, self._metrics
        if work.error is not None:
            metrics.dead_lettered.labels(name, work.error.code).inc()
            return
        if (made := work.prediction) is not None:
            metrics.labelled.labels(name, version).inc()
            if made.scored:
                metrics.labels.labels(name, version, made.label).inc()
            metrics.decisions.labels(name, version, made.decision).inc()
            if made.decision == UNSURE:
                reason = made.marks[0] if made.marks else LOW_CONFIDENCE
                metrics.unsure.labels(name, version, reason).inc()
        if work.record.timestamp is not None:
            seconds = max(0.0, now - work.record.timestamp / 1000)
            metrics.end_to_end_seconds.labels(name).observe(seconds)
