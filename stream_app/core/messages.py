"""The things that flow: a record becomes a message, then tokens, then a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]
Scalar = str | int | float | bool | None
UNSURE = "unsure"  # the decision that no label is sure enough to be
NONE = "none"  # the decision that no label is there, of a model that gives a text any number


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Mark(NamedTuple):
    """Which log an offset belongs to; None where the broker does not say.

    A topic that is made again has another id. What is written again after the end of a log was lost
    has a higher leader epoch.
    """

    topic_id: str | None = None  # as Kafka's tools print it
    epoch: int | None = None


UNMARKED = Mark()


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record as it was consumed, raw. `timestamp` is in milliseconds since the epoch."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None
    mark: Mark = UNMARKED

    @property
    def id(self) -> str:
        """`topic/partition/offset`: the same for every delivery of this record."""
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"

    @property
    def size(self) -> int:
        """Bytes this record holds in memory while in flight."""
        return len(self.value or b"") + len(self.key or b"") + sum(len(v) for _, v in self.headers)

    def header(self, name: str) -> str | None:
        """The last header called `name` as text, None without one."""
        for key, value in reversed(self.headers):
            if key == name:
                return value.decode("utf-8", "replace")
        return None


@dataclass(frozen=True, slots=True)
class Message:
    """A codec's result: the words of a record, and the fields asked for by name."""

    title: str = ""
    body: str = ""
    message_id: str | None = None
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParseSpec:
    """A route's arguments to its codec.

    `names` maps a role (`title`, `subject`, `body`, `text`, `rating`, `id`) to the field that
    plays it, for formats with named fields; `pass_fields` are the fields or headers to copy out.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    pass_fields: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """Calibrated scores of one message, and the label they give.

    `label` always has the highest score; `labels` holds every label at or above its threshold
    (multi-label models; for single-label models it is `(label,)`), and `decisions` those of them
    that may be acted on; `decision` is the highest of these. `familiarity` is in [0, 1], None where
    it is not measured. `marks` say why the decision is none of the model's labels.
    """

    label: str
    labels: tuple[str, ...]
    confidence: float
    scores: Mapping[str, float]
    decision: str
    decisions: tuple[str, ...] = ()
    familiarity: float | None = None
    marks: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether a model made it: a message without text has no scores."""
        return bool(self.scores)
