"""Marks: what is kept of the logs that were read, in memory and beside the committed offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stream_app.core.messages import UNMARKED, Mark, Partition

_WRITTEN = re.compile(r"winnow:([\w-]{22}|):([0-9]{1,10}|)")


def written(mark: Mark) -> str:
    """A mark as the metadata of a committed offset."""
    epoch = "" if mark.epoch is None else mark.epoch
    return f"winnow:{mark.topic_id or ''}:{epoch}"


def ours(metadata: str | None) -> bool:
    """Whether a worker or a sink wrote an offset's metadata."""
    return _WRITTEN.fullmatch(metadata or "") is not None


def read(metadata: str | None) -> Mark:
    """The mark in an offset's metadata; nobody else's metadata means anything."""
    found = _WRITTEN.fullmatch(metadata or "")
    if found is None:
        return UNMARKED
    return Mark(found[1] or None, int(found[2]) if found[2] else None)


class Marks:
    """The marks of the partitions of one assignment, by offset. Within it none ever changes.

    Written by the consumer's thread, read by the event loop as well.
    """

    def __init__(self) -> None:
        self._assignment: object = None
        self._spans: dict[Partition, list[tuple[int, Mark]]] = {}  # first offset, rising

    def start(self, assignment: object) -> None:
        """Marks of another assignment end here."""
        if assignment is not self._assignment:
            self._assignment, self._spans = assignment, {}

    def begin(self, partition: Partition, mark: Mark) -> None:
        """Reading of a partition starts; `mark` is of the record before."""
        self._spans[partition] = [(0, mark)]

    def knows(self, partition: Partition, assignment: object) -> bool:
        """Whether reading has started, under this assignment."""
        return assignment is self._assignment and partition in self._spans

    def fetched(self, partition: Partition, epochs: Iterable[tuple[int, int]]) -> None:
        """(first offset, leader epoch) of batches that were fetched, in order."""
        spans = self._spans.get(partition)
        if spans is None:
            return
        for offset, epoch in epochs:
            start, last = spans[-1]
            if epoch >= 0 and epoch != last.epoch and offset >= start:
                spans.append((offset, Mark(last.topic_id, epoch)))

    def at(self, partition: Partition, offset: int) -> Mark:
        """The mark of the record at the offset."""
        for start, mark in reversed(self._spans.get(partition, ())):
            if start <= offset:
                return mark
        return UNMARKED

    def before(self, partition: Partition, offset: int) -> Mark:
        """The mark of a position: of the record before it."""
        return self.at(partition, max(0, offset - 1))
