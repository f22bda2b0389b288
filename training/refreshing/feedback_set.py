"""Feedback as it lies on disk: for each pull a Parquet file that never changes, and its manifest.

A pull is named by the offsets it read, summed over partitions, as in `feedback-120-340`. Where the
topic was made again they start anew, and `feedback-2-0-34` is of its second log. The manifest is
written last, and a Parquet file without one does not count.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from stream_app.core.errors import SourceError
from stream_app.kafka.reading import Offsets
from stream_app.model.artifact import sha256

_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("body", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("who", pa.string()),
        ("when", pa.timestamp("us", "UTC")),
        ("logged", pa.int64()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Correction:
    """One message's right labels, in order, and where that was said: `partition` and `offset` are
    of the feedback topic, `logged` is its record's timestamp, milliseconds since the epoch."""

    id: str | None
    title: str
    body: str
    labels: tuple[str, ...]
    who: str
    when: datetime
    logged: int
    partition: int
    offset: int
    topic_id: str | None = None  # of the feedback topic: another where it was made again

    @property
    def place(self) -> str:
        """The log that it is in, for `reached`."""
        return _place(self.topic_id, self.partition)

    @property
    def about(self) -> str:
        """The same for every correction of one message."""
        words = f"{self.title}\0{self.body}".encode()
        return self.id or hashlib.sha256(words).hexdigest()

    @property
    def order(self) -> tuple[int, int, int]:
        """Of several about one message the last counts; `when` is not used: it could be made up."""
        return self.logged, self.partition, self.offset


class Pull(BaseModel):
    """The manifest of one pull."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: str
    topic: str
    topic_id: str | None = None  # where the broker says it; another where the topic was made again
    log: int = 1  # of those that the topic had since the first pull
    offsets: dict[int, tuple[int, int]]  # by partition: the first that was read, the next to read
    counts: dict[str, int]  # outcome -> records
    refused: dict[str, list[str]]  # outcome -> the first few, as topic/partition/offset
    labels: dict[str, int]  # of those kept
    sources: dict[str, int]  # who -> how many kept
    pulled_at: datetime
    sha256: str  # of the Parquet file

    @property
    def name(self) -> str:
        """Of its files, without their endings."""
        log = "" if self.log == 1 else f"{self.log}-"
        return f"feedback-{log}{self._sum(0)}-{self._sum(1)}"

    @property
    def order(self) -> tuple[int, int]:
        """Of several pulls, as they were made."""
        return self.log, self._sum(1)

    def _sum(self, which: int) -> int:
        return sum(span[which] for span in self.offsets.values())


@dataclass(frozen=True, slots=True)
class FeedbackSet:
    """The corrections of several pulls: the last of each message, in the order of the log.

    `contradicted` counts messages that were given different labels by different sources.
    """

    corrections: Sequence[Correction]
    superseded: int
    contradicted: int


def pulls(folder: Path) -> list[Pull]:
    """The manifests in a folder, oldest first. Raises SourceError for a damaged one."""
    found = []
    for file in folder.glob("feedback-*.json"):
        try:
            found.append(Pull.model_validate_json(file.read_bytes()))
        except ValidationError:
            raise SourceError(
                f"{file} is no manifest of a pull: restore it, or pull again"
            ) from None
    ids = {pull.log: pull.topic_id for pull in found if pull.topic_id}  # those of 0.2 have none
    named = [pull.model_copy(update={"topic_id": ids.get(pull.log)}) for pull in found]
    return sorted(named, key=lambda pull: pull.order)


def next_offsets(before: Sequence[Pull]) -> Offsets:
    """Where the next pull starts, of the log that was read last."""
    same = [pull for pull in before if pull.log == before[-1].log]
    return {number: end for pull in same for number, (_, end) in pull.offsets.items()}


def reached(of: Sequence[Pull]) -> Mapping[str, int]:
    """How far pulls have read each log: place -> the offset behind."""
    return {
        _place(pull.topic_id, number): end
        for pull in of
        for number, (_, end) in pull.offsets.items()
    }


def given_since(corrections: Iterable[Correction], seen: Mapping[str, int]) -> list[Correction]:
    """Those behind what `reached` said then; a model of 0.2 says it by partition alone."""
    return [
        each
        for each in corrections
        if each.offset >= seen.get(each.place, seen.get(str(each.partition), 0))
    ]


def write_pull(folder: Path, pull: Pull, corrections: Sequence[Correction]) -> Pull:
    """Write a pull's two files; the manifest with the digest of the other."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(correction) for correction in corrections]
    table = folder / f"{pull.name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, _COLUMNS), table.with_suffix(".part"))
    os.replace(table.with_suffix(".part"), table)
    sealed = pull.model_copy(update={"sha256": sha256(table)})
    manifest = table.with_suffix(".json")
    manifest.with_suffix(".part").write_text(sealed.model_dump_json(indent=2) + "\n")
    os.replace(manifest.with_suffix(".part"), manifest)
    return sealed


def read_set(folder: Path, of: Iterable[Pull]) -> FeedbackSet:
    """The corrections of some pulls. Raises SourceError for a file that changed."""
    every: list[Correction] = []
    for pull in of:
        file = folder / f"{pull.name}.parquet"
        if not file.is_file() or sha256(file) != pull.sha256:
            raise SourceError(f"{file} is missing or was changed: restore it, or pull again")
        rows = pq.read_table(file).to_pylist()
        every.extend(_correction(row, pull.topic_id) for row in rows)
    kept = last_of_each(every)
    return FeedbackSet(kept, len(every) - len(kept), _contradicted(every))


def last_of_each(corrections: Iterable[Correction]) -> list[Correction]:
    """The last correction of each message, in the order of the log."""
    last = {each.about: each for each in sorted(corrections, key=lambda each: each.order)}
    return sorted(last.values(), key=lambda each: each.order)


def tally(corrections: Iterable[Correction]) -> dict[str, Mapping[str, int]]:
    """How many of each label, and of each source."""
    kept = list(corrections)
    return {
        "labels": dict(sorted(Counter(name for each in kept for name in each.labels).items())),
        "sources": dict(sorted(Counter(each.who for each in kept).items())),
    }


def _place(topic_id: str | None, partition: int) -> str:
    return str(partition) if topic_id is None else f"{topic_id}/{partition}"


def _correction(row: dict[str, Any], topic_id: str | None) -> Correction:
    """A row of the table; those of 0.2 have one label."""
    labels = (row.pop("label"),) if "label" in row else tuple(row.pop("labels"))
    return Correction(**row, labels=labels, topic_id=topic_id)


def _contradicted(corrections: Iterable[Correction]) -> int:
    """Messages on which sources disagree; one source may change its mind."""
    said: dict[str, dict[str, tuple[str, ...]]] = {}
    for each in sorted(corrections, key=lambda each: each.order):
        said.setdefault(each.about, {})[each.who] = each.labels
    return sum(len(set(labels.values())) > 1 for labels in said.values())
