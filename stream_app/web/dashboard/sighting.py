"""What the dashboard keeps of a label or a dead letter: when, what, which fields; never text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from stream_app.core.headers import EPOCH, ERROR, MODEL, ROUTE, SOURCE, TIMESTAMP, TOPIC_ID
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import UNSURE, Record, Scalar

Kind = Literal["label", "dead"]
MAX_NAME_CHARS = 200  # of a label or a field's value: what is longer is cut


@dataclass(frozen=True, slots=True)
class Sighting:
    """One label or dead letter, seen on a topic."""

    route: str
    identity: int  # the same for every copy of it: 64 bits, signed
    at: int  # when its record was made, seconds since the epoch
    kind: Kind
    names: tuple[str, ...]  # the labels, or the dead letter's code; one or more
    model: str
    doubted: frozenset[str] = frozenset()  # those of the labels that may not be acted on
    unsure: bool = False  # whether nothing may be
    seconds: float | None = None  # from its record to it
    fields: Mapping[str, str] | None = None
    shown: Mapping[str, Any] | None = None  # its line in the list of last labels


def of_label(record: Record) -> Sighting:
    """A record of a label topic. Raises ValueError for what is no label record."""
    label = LabelRecord.model_validate_json(record.value or b"")
    source, when = label.source, label.classified_at
    at = _time(source.timestamp, when)
    fields = {cut(name): cut(_written(value)) for name, value in source.fields.items()}
    model = f"{label.model.name} {label.model.version}"
    names = tuple(map(cut, label.labels)) or (cut(label.decision),)
    decided = {*map(cut, label.decisions), cut(label.decision)} - {UNSURE}
    return Sighting(
        route=label.route,
        identity=_identity(label.id, source.topic_id, source.epoch, source.timestamp, "label"),
        at=at,
        kind="label",
        names=names,
        model=cut(model),
        doubted=frozenset(names) - decided,
        unsure=label.decision == UNSURE,
        seconds=None if source.timestamp is None else when.timestamp() - source.timestamp / 1000,
        fields=fields,
        shown={
            "id": label.id,
            "route": label.route,
            "at": at,
            "label": cut(label.label),
            "confidence": round(label.confidence, 4),
            "unsure": label.decision == UNSURE,
            "marks": [cut(mark) for mark in label.marks],
            "fields": fields,
            "model": cut(model),
            "choices": [cut(name) for name in label.scores],
            "several": label.model.problem == "multi_label",
            "labels": [
                {
                    "name": cut(name),
                    "score": round(label.scores.get(name, 0.0), 4),
                    "decided": cut(name) in decided,
                }
                for name in label.labels
            ],
        },
    )


def of_dead_letter(record: Record, route: str) -> Sighting:
    """A record of a dead-letter topic; `route` is the topic's, where the letter names none."""
    source = record.header(SOURCE) or record.id
    made, written = record.header(TIMESTAMP) or "", record.timestamp or 0
    at = int(made) if made.isdecimal() and int(made) <= written else written
    of_log = (record.header(name) for name in (TOPIC_ID, EPOCH, TIMESTAMP))
    return Sighting(
        route=record.header(ROUTE) or route,
        identity=_identity(source, *of_log, "dead"),
        at=at // 1000,
        kind="dead",
        names=(cut(record.header(ERROR) or "unknown"),),
        model=cut(record.header(MODEL) or ""),
    )


def reader_of(kind: Kind, route: str) -> Callable[[Record], Sighting]:
    """What reads the records of a topic of this kind."""
    return of_label if kind == "label" else lambda record: of_dead_letter(record, route)


def _time(timestamp: int | None, labelled: datetime) -> int:
    """When a record was made. One that says it is younger than its label has a wrong clock."""
    until = int(labelled.timestamp())
    return until if timestamp is None else min(timestamp // 1000, until)


def _identity(*parts: object) -> int:
    """Of an id, and of the log that it belongs to: a topic made again begins with the same ids."""
    told = "\n".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(told, digest_size=8).digest(), signed=True)


def cut(text: str) -> str:
    """A name as it is kept."""
    return text[:MAX_NAME_CHARS]


def _written(value: Scalar) -> str:
    return "" if value is None else str(value)
