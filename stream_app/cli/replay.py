"""Replay of dead letters: back to their route's input, each once, however often it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from stream_app.cli.connect import connected
from stream_app.cli.dead_letters import belongs, id_of, read_dead_letters, replay_headers
from stream_app.cli.sending import Sending, sending
from stream_app.core.errors import BrokerError
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings

CHUNK = 100  # letters between two commits
MAX_MARK_CHARS = 4000  # a broker's offset.metadata.max.bytes is 4096 by default


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
    """What was replayed, as the broker keeps it for the consumer group `<group>-dlq-replay`."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer  # of that group

    def read(self, partition: Partition) -> Replayed:
        """Which letters of the partition were replayed."""
        found = self._consumer.committed(TopicPartition(*partition), metadata=True)
        return Replayed.parse(found.offset, found.metadata or "") if found else Replayed()

    def write(self, partition: Partition, replayed: Replayed) -> bool:
        """Remember it; False where the broker did not keep all: the embedded one drops marks."""
        commit = OffsetAndMetadata(replayed.offset, replayed.mark, -1)
        self._consumer.commit({TopicPartition(*partition): commit})
        return self.read(partition) == replayed


@dataclass(slots=True)
class Outcome:
    """What a replay did. The lists hold ids."""

    sent: int = 0
    without_value: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)
    forgotten: bool = False  # the broker did not keep which single ones were replayed


def replay(kafka: KafkaSettings, route: RouteSettings, wanted: Callable[[Record], bool]) -> Outcome:
    """Send the route's wanted dead letters that were not replayed yet back to its input topic.

    They are remembered after the broker confirmed them, so a crash sends some twice, never none;
    they keep their first id, by which a consumer of the labels can tell. Raises BrokerError.
    """

    def chosen(letter: Record) -> bool:
        return belongs(letter, route) and wanted(letter)

    outcome = Outcome()
    letters = read_dead_letters(kafka, route.dead_letter_topic)
    with (
        connected(
            KafkaConsumer,
            kafka,
            group_id=f"{kafka.group_id}-dlq-replay",
            enable_auto_commit=False,
        ) as consumer,
        sending(kafka, route.input_topic) as records,
    ):
        log = ReplayLog(consumer)
        for partition, found in groupby(letters, key=lambda letter: letter.partition):
            for replayed in _sent(found, chosen, log.read(partition), records, outcome):
                records.finish()
                outcome.forgotten |= not log.write(partition, replayed)
        outcome.sent, outcome.too_large = records.confirmed, records.refused
    return outcome


def _sent(
    letters: Iterable[Record],
    chosen: Callable[[Record], bool],
    replayed: Replayed,
    records: Sending,
    outcome: Outcome,
) -> Iterator[Replayed]:
    """Send what is chosen of one partition; yields what to remember once it is confirmed."""
    after, unremembered = 0, 0
    for letter in letters:
        # between two neighbours there is nothing: compaction and transactions leave such gaps
        first, after = after, letter.offset + 1
        if not chosen(letter) or letter.offset in replayed:
            continue
        more = replayed.plus(first, after)
        if len(more.mark) > max(MAX_MARK_CHARS, len(replayed.mark)):
            yield replayed
            raise BrokerError("too many dead letters were replayed singly: replay all others first")
        if letter.value is None:
            outcome.without_value.append(id_of(letter))
        else:
            records.send(id_of(letter), letter.value, letter.key, replay_headers(letter))
        replayed, unremembered = more, unremembered + 1
        if unremembered == CHUNK:
            yield replayed
            unremembered = 0
    yield replayed
