"""From a label record to a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic_core import to_json

from stream_app.core.label_record import LabelRecord

Key = tuple[str, str, int]
NO_TOPIC_ID = ""  # where the broker does not say it
NO_EPOCH = -1
_NUL = r"\u0000"  # in JSON
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    """A row; the columns are documented in `table.py`. The first three are its key."""

    id: str
    topic_id: str
    epoch: int
    route: str
    label: str
    labels: str
    decision: str
    decisions: str
    confidence: float
    scores: str
    familiarity: float | None
    marks: str
    model_name: str
    model_version: str
    model_digest: str
    message_id: str | None
    fields: str
    source_topic: str
    source_partition: int
    source_offset: int
    recorded_at: datetime | None
    classified_at: datetime

    @property
    def key(self) -> Key:
        """Two labels with one key are of one record."""
        return self.id, self.topic_id, self.epoch


def rows_of(labels: Iterable[LabelRecord]) -> Sequence[Row]:
    """A row a record, of several labels the newest; by key, so that two sinks that write the same
    rows never wait for each other in a circle."""
    newest: dict[Key, Row] = {}
    for row in map(_row, labels):
        known = newest.get(row.key)
        if known is None or known.classified_at < row.classified_at:
            newest[row.key] = row
    return [newest[key] for key in sorted(newest)]


def _row(label: LabelRecord) -> Row:
    source, model = label.source, label.model
    return Row(
        id=_text(label.id),
        topic_id=_text(source.topic_id or NO_TOPIC_ID),
        epoch=NO_EPOCH if source.epoch is None else source.epoch,
        route=_text(label.route),
        label=_text(label.label),
        labels=_json(label.labels),
        decision=_text(label.decision),
        decisions=_json(label.decisions),
        confidence=label.confidence,
        scores=_json(label.scores),
        familiarity=label.familiarity,
        marks=_json(label.marks),
        model_name=_text(model.name),
        model_version=_text(model.version),
        model_digest=_text(model.digest),
        message_id=None if source.message_id is None else _text(source.message_id),
        fields=_json(source.fields),
        source_topic=_text(source.topic),
        source_partition=source.partition,
        source_offset=source.offset,
        recorded_at=_when(source.timestamp),
        classified_at=label.classified_at,
    )


def _text(text: str) -> str:
    """PostgreSQL holds no NUL, which a mail's header or a JSON field may have."""
    return text.replace("\0", "\ufffd")


def _json(value: Any) -> str:
    found = to_json(value).decode()
    return to_json(_without_nul(value)).decode() if _NUL in found else found


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): _without_nul(each) for key, each in value.items()}
    return [_without_nul(each) for each in value] if isinstance(value, list) else value


def _when(milliseconds: int | None) -> datetime | None:
    """None where a producer wrote a time that no calendar has."""
    try:
        return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
