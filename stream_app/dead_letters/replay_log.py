"""What a replay remembers on the broker: the dead letters it sent back, and that it is at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition

from stream_app.core.messages import Partition

UNDER_WAY = "~"  # begins the word of a mark that says since when a replay is under way
EVER = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """Which dead letters of one partition were replayed: spans `[first, end)`, apart, in order.

    Kept as a committed offset, below which all were; those beyond are in the commit's metadata,
    as in `7 9-12`.
    """

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, offset: int, mark: str) -> Replayed:
        """From a committed offset and its metadata."""
        replayed = cls().plus(0, offset)
        for span in mark.split():
            first, _, last = span.partition("-")
            replayed = replayed.plus(int(first), int(last or first) + 1)
        return replayed

    def __contains__(self, offset: int) -> bool:
        return any(first <= offset < end for first, end in self.spans)

    def plus(self, first: int, end: int) -> Replayed:
        """These, and all from `first` to before `end`."""
        merged: list[tuple[int, int]] = []
        for span in sorted([*self.spans, (first, end)]):
            if merged and span[0] <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], span[1]))
            elif span[0] < span[1]:
                merged.append(span)
        return Replayed(tuple(merged))

    @property
    def offset(self) -> int:
        """The offset to commit."""
        return self.spans[0][1] if self.spans and self.spans[0][0] == 0 else 0

    @property
    def mark(self) -> str:
        """The metadata of that commit."""
        beyond = [(first, end - 1) for first, end in self.spans if first > 0]
        return " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in beyond)


class ReplayLog:
    """The commits of a replay's own consumer group."""

    def __init__(self, consumer: Any, now: int) -> None:
        self._consumer = consumer  # of that group
        self._now = now  # milliseconds since the epoch

    def begin(self, partition: Partition) -> tuple[Replayed, int | None]:
        """What was replayed of a partition; and since when letters may have been sent back that
        are not remembered (milliseconds since the epoch), None where all are.

        From here to `end` the broker knows that a replay is under way. One that keeps no metadata,
        as the embedded one, cannot: then it is EVER.
        """
        replayed, since = self._read(partition)
        self._write(partition, replayed, f"{UNDER_WAY}{since or self._now} ")
        kept = self._read(partition)[1] is not None
        return replayed, since if kept else EVER

    def write(self, partition: Partition, replayed: Replayed) -> None:
        """Remember what is confirmed so far."""
        self._write(partition, replayed, f"{UNDER_WAY}{self._now} ")

    def end(self, partition: Partition, replayed: Replayed) -> None:
        """Remember all; no replay is under way any more."""
        self._write(partition, replayed, "")

    def _read(self, partition: Partition) -> tuple[Replayed, int | None]:
        found = self._consumer.committed(TopicPartition(*partition), metadata=True)
        if not found:
            return Replayed(), None
        words = (found.metadata or "").split()
        since = int(words.pop(0)[1:]) if words and words[0].startswith(UNDER_WAY) else None
        return Replayed.parse(found.offset, " ".join(words)), since

    def _write(self, partition: Partition, replayed: Replayed, state: str) -> None:
        commit = OffsetAndMetadata(replayed.offset, state + replayed.mark, -1)
        self._consumer.commit({TopicPartition(*partition): commit})
