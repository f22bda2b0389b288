"""What travels through the steps: a record and the results of the steps so far."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_app.core.errors import RecordError
from stream_app.core.messages import Headers, Message, Prediction, Record
from stream_app.serving.served import ServedModel

if TYPE_CHECKING:
    from opentelemetry.trace import Span  # of an extra


@dataclass(frozen=True, slots=True)
class Past:
    """What a record was before it was replayed from the dead letters."""

    id: str  # of the record it was first
    attempts: int  # how often it has failed


@dataclass(slots=True)
class Work:
    """One record in flight. Each step fills in its field; `error` sends it to the dead letters."""

    record: Record
    model: ServedModel  # from the beginning to the end, whatever serves by then
    message: Message | None = None
    tokens: list[int] = field(default_factory=list)
    prior: NDArray[np.float32] | None = None  # [labels], from the n-gram head of a model with one
    familiarity: float | None = None  # in [0, 1], from a model that measures it
    prediction: Prediction | None = None
    error: RecordError | None = None
    past: Past | None = None  # of a record that was replayed
    span: Span | None = None  # of a route that is traced
    own_headers: Headers | None = None  # the record's with the context of its span
    since: float = field(default_factory=time.monotonic)  # seconds, when the last step ended

    @property
    def open(self) -> bool:
        """Whether its result is still to come."""
        return self.error is None and self.prediction is None

    @property
    def result(self) -> Prediction | RecordError:
        """Its end: what was decided, or why nothing could be."""
        lost = RecordError("internal", "no step gave this message a result")
        return self.prediction or self.error or lost

    @property
    def headers(self) -> Headers:
        """Those that its label or dead letter takes over."""
        return self.record.headers if self.own_headers is None else self.own_headers

    @property
    def id(self) -> str:
        """The id of the record it first was; a replay keeps it."""
        return self.record.id if self.past is None else self.past.id

    def lap(self, now: float) -> float:
        """Seconds since the last lap; the clock starts again."""
        elapsed, self.since = now - self.since, now
        return elapsed


@dataclass(frozen=True, slots=True)
class Batch:
    """Works that go to the engine together, in delivery order; those with a result ride along."""

    works: tuple[Work, ...]

    @property
    def scorable(self) -> list[Work]:
        """The works that have tokens to score."""
        return [work for work in self.works if work.open]

    @property
    def tokens(self) -> int:
        """Real tokens in the batch, padding not counted."""
        return sum(len(work.tokens) for work in self.works)


def by_model(works: Iterable[Work]) -> dict[ServedModel, list[Work]]:
    """The works of each model, in order: a model's batch holds no other's texts."""
    groups: dict[ServedModel, list[Work]] = {}
    for work in works:
        groups.setdefault(work.model, []).append(work)
    return groups
