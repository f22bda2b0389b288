"""An account of one run: every result and every commit, as they appear, from outside the worker."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from tests.integration.faults.commits import commit_log, group_offsets

COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"
MARGIN = 1e-3  # scores closer than this may change places: far above any engine's tolerance


class Place(NamedTuple):
    """Where an input record lies."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Result:
    """One label or dead letter as it was read back."""

    place: Place  # of its input
    topic: str
    offset: int  # its own
    timestamp: float  # seconds since the epoch, by the worker's clock
    number: int | None
    label: str | None = None
    scores: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The group's offsets at a moment, and how far the outputs reached just after.

    The embedded broker cannot say the latter: it answers with where the last batch began.
    """

    offsets: Mapping[int, int]
    ends: Mapping[TopicPartition, int]


@dataclass
class Totals:
    """One row of the table."""

    sent: int = 0
    labelled: int = 0
    dead: int = 0
    duplicate: int = 0
    lost: int = 0
    mislabelled: int = 0
    disorder: int = 0
    backwards: int = 0  # commits that went back
    early: int = 0  # commits ahead of their deliveries
    seconds: float | None = None  # from the strike to the next label, on the slowest partition
    errors: dict[str, int] = field(default_factory=dict)


class Account:
    """Reads the outputs and the group's offsets of one input topic in the background."""

    def __init__(
        self,
        address: str,
        topic: str,
        group: str,
        partitions: int,
        isolation: str,
        knows_ends: bool = True,
        cluster: bool = False,
    ) -> None:
        self._cluster = cluster
        self._address, self._topic, self._group = address, topic, group
        self._knows_ends = knows_ends
        self._partitions = partitions  # of the outputs
        self._outputs = [
            TopicPartition(name, number)
            for name in (f"{topic}.labels", f"{topic}.dlq")
            for number in range(partitions)
        ]
        self.results: list[Result] = []
        self.commits: list[Commit] = []
        self.places: set[Place] = set()
        self._gone: set[int] = set()  # numbers of records that the broker lost
        self._next: dict[tuple[str, int], int] = {}  # where reading the outputs goes on
        self._life = 0  # of the outputs
        self._moved = threading.Condition()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._again, args=(self._read, isolation), daemon=True),
            # what a commit covers is there before its transaction's marker is
            threading.Thread(target=self._again, args=(self._watch, UNCOMMITTED), daemon=True),
        ]

    def __enter__(self) -> Account:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait(self, reached: Callable[[], bool], seconds: float, check: Callable[[], None]) -> bool:
        """Whether the condition came to hold before for so long no result came; looked at whenever
        one does, or each second."""
        with self._moved:
            known, deadline = -1, 0.0
            while not reached():
                check()
                if known != len(self.results):
                    known, deadline = len(self.results), time.monotonic() + seconds
                if time.monotonic() > deadline:
                    return False
                self._moved.wait(1)
        return True

    def rewind(self) -> None:
        """The outputs begin anew: read them from their beginning."""
        self._next.clear()
        self._life += 1

    def begin_again(self) -> None:
        """What came out so far was asked for once more: it counts no longer."""
        with self._moved:
            self.results, self.places = [], set()
            self.commits.clear()

    def lose(self, numbers: set[int]) -> None:
        """The broker lost these records: nobody is owed their results, and their places are free.

        What was committed before this moment says nothing of the log that follows.
        """
        with self._moved:
            self._gone |= numbers
            self.results = [result for result in self.results if result.number not in self._gone]
            self.places = {result.place for result in self.results}
            self.commits.clear()

    def _again(self, work: Callable[[KafkaConsumer], None], isolation: str) -> None:
        """Do `work` until the end, whatever becomes of the broker meanwhile."""
        while not self._over.is_set():
            with suppress(Exception):  # a broker that is away says so in many ways
                consumer = KafkaConsumer(
                    bootstrap_servers=self._address,
                    isolation_level=isolation,
                    auto_offset_reset="earliest",  # of outputs that were made again
                )
                try:
                    work(consumer)
                finally:
                    consumer.close()
            self._over.wait(0.2)

    def _read(self, consumer: KafkaConsumer) -> None:
        consumer.assign(self._outputs)
        for tp in self._outputs:
            consumer.seek(tp, self._next.get((tp.topic, tp.partition), 0))
        life = self._life
        while not self._over.is_set() and life == self._life:
            for records in consumer.poll(timeout_ms=200).values():
                with self._moved:
                    read = [_result(record) for record in records]
                    last = records[-1]
                    self._next[last.topic, last.partition] = last.offset + 1
                    found = [result for result in read if result.number not in self._gone]
                    self.results += found
                    self.places.update(result.place for result in found)
                    self._moved.notify_all()

    def _watch(self, consumer: KafkaConsumer) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self._address)
        try:
            while not self._over.wait(0.3):
                offsets = group_offsets(admin, self._group, self._topic)
                self.commits.append(Commit(offsets, consumer.end_offsets(self._outputs)))
        finally:
            admin.close()

    def totals(
        self, sent: Mapping[Place, int], expected: Mapping[int, Result], struck: float | None
    ) -> Totals:
        """Every number sent, accounted for. `expected` is what an undisturbed run said."""
        first: dict[Place, Result] = {}
        for result in self.results:
            first.setdefault(result.place, result)
        labels = [result for result in first.values() if result.error is None]
        errors: dict[str, int] = defaultdict(int)
        for result in first.values():
            if result.error is not None:
                errors[result.error] += 1
        return Totals(
            sent=len(sent),
            labelled=len(labels),
            dead=len(first) - len(labels),
            duplicate=len(self.results) - len(first),
            lost=len(sent.keys() - first.keys()),
            mislabelled=sum(
                _wrong(result, expected.get(sent.get(result.place, -1))) for result in self.results
            ),
            disorder=self._disorder(),
            backwards=self._backwards(),
            early=self._early(first, sent),
            seconds=self._until_next(struck),
            errors=dict(errors),
        )

    def _disorder(self) -> int:
        """First labels that came before one of an earlier record of their partition."""
        last: dict[int, int] = {}
        seen: set[Place] = set()
        wrong = 0
        for result in self.results:
            if result.error is None and result.place not in seen:
                wrong += result.place.offset < last.get(result.place.partition, -1)
                last[result.place.partition] = result.place.offset
                seen.add(result.place)
        return wrong

    def _backwards(self) -> int:
        """Commits that went back. In a cluster the broker's own log of them says it: who was just
        elected to tell them may not know the newest yet."""
        highest: dict[int, int] = {}
        wrong = 0
        seen = [commit.offsets for commit in self.commits]
        for offsets in (
            commit_log(self._address, self._group, self._topic) if self._cluster else seen
        ):
            for partition, offset in offsets.items():
                wrong += offset < highest.get(partition, 0)
                highest[partition] = max(offset, highest.get(partition, 0))
        return wrong

    def _early(self, first: Mapping[Place, Result], sent: Mapping[Place, int]) -> int:
        """Commits past a record whose first result was not there yet."""
        needed: dict[int, list[tuple[int, dict[str, int]]]] = defaultdict(list)
        for place in sorted(sent):
            steps = needed[place.partition]
            reach = dict(steps[-1][1]) if steps else {}
            result = first.get(place)
            if result is not None:
                reach[result.topic] = max(result.offset + 1, reach.get(result.topic, 0))
            steps.append((place.offset, reach))
        wrong = 0
        for commit in self.commits if self._knows_ends else ():
            for partition, offset in commit.offsets.items():
                steps = needed[partition]
                covered = bisect_left(steps, offset, key=itemgetter(0))
                for topic, end in steps[covered - 1][1].items() if covered else ():
                    output = TopicPartition(topic, partition % self._partitions)
                    wrong += commit.ends[output] < end
        return wrong

    def _until_next(self, struck: float | None) -> float | None:
        if struck is None:
            return None
        after: dict[int, float] = {}
        for result in self.results:
            if result.timestamp > struck:
                at = after.get(result.place.partition, result.timestamp)
                after[result.place.partition] = min(at, result.timestamp)
        return max(after.values()) - struck if after else None


def _result(record: Any) -> Result:
    seconds = record.timestamp / 1000
    if record.topic.endswith(".dlq"):
        headers = dict(record.headers)
        _, partition, offset = headers["winnow-source"].decode().rsplit("/", 2)
        number = headers.get("number")
        return Result(
            Place(int(partition), int(offset)),
            record.topic,
            record.offset,
            seconds,
            int(number) if number else None,
            error=headers["winnow-error"].decode(),
        )
    label = json.loads(record.value)
    source = label["source"]
    number = source["fields"].get("number")
    return Result(
        Place(source["partition"], source["offset"]),
        record.topic,
        record.offset,
        seconds,
        None if number is None else int(number),
        label["label"],
        tuple(sorted(label["scores"].values(), reverse=True)),
    )


def _wrong(result: Result, expected: Result | None) -> bool:
    """Another label than the undisturbed run's, where the two best scores are not a tie."""
    if expected is None or result.label is None or expected.label is None:
        return False
    if result.number != expected.number:
        return True
    tie = expected.scores[0] - expected.scores[1] < MARGIN
    return result.label != expected.label and not tie
