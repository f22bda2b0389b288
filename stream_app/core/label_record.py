"""The label record: the value written to a route's output topic. Its JSON Schema is in docs/."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field

from stream_app.core.headers import encoded, foreign
from stream_app.core.messages import Headers, Message, Prediction, Record, Scalar

CLOUD_EVENT_TYPE = "dev.winnow.label.v1"


class ModelVersion(BaseModel):
    """Which model made a label."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    digest: str = Field(description="sha256 over the digests of the artifact's files")
    problem: str = Field(
        "single_label", description="`multi_label` where it gives a text any number of labels"
    )


class Source(BaseModel):
    """Where the labelled record came from."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    timestamp: int | None = Field(description="of the input record, milliseconds since the epoch")
    message_id: str | None = None
    fields: dict[str, Scalar] = Field(
        default_factory=dict, description="the route's pass_fields that the record had"
    )
    topic_id: str | None = Field(
        None, description="Kafka's id of the topic; another where a topic was made again"
    )
    epoch: int | None = Field(
        None, description="leader epoch of the record; higher where a log that went back was reused"
    )


class LabelRecord(BaseModel):
    """One labelled record. It never holds message text, other than fields asked for by name.

    Later versions may add fields: a reader ignores those it does not know.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="topic/partition/offset of the input, kept through a replay")
    route: str
    label: str = Field(
        description="always the label with the highest score; `unsure` where there are no scores"
    )
    labels: list[str] = Field(description="labels at or above their threshold (multi-label models)")
    confidence: float = Field(description="calibrated score of `label`, 0 to 1")
    scores: dict[str, float] = Field(description="of every label; empty for a mail without text")
    decision: str = Field(
        description="`label` where it may be acted on: its score reaches the model's decide_at, or "
        "the route's min_confidence, and the text is familiar; else `unsure`. Of a multi-label "
        "model the highest of `decisions`; without any `none` where `labels` is empty, or `unsure`"
    )
    decisions: list[str] = Field(
        default_factory=list,
        description="those of `labels` that may be acted on, each by its own score",
    )
    familiarity: float | None = Field(
        None, description="how like the model's training texts, 0 to 1; null if not measured"
    )
    marks: list[str] = Field(
        default_factory=list,
        description="why the decision is unsure, if not by its score: `unfamiliar` or `no_text`",
    )
    model: ModelVersion
    source: Source
    classified_at: datetime


def label_record(
    record: Record,
    message: Message,
    prediction: Prediction,
    route: str,
    model: ModelVersion,
    now: datetime,
    first_id: str | None = None,
) -> LabelRecord:
    """Put the record, the prediction and the model together. `first_id`: of a replayed record."""
    return LabelRecord(
        id=first_id or record.id,
        route=route,
        label=prediction.label,
        labels=list(prediction.labels),
        confidence=prediction.confidence,
        scores=dict(prediction.scores),
        decision=prediction.decision,
        decisions=list(prediction.decisions),
        familiarity=prediction.familiarity,
        marks=list(prediction.marks),
        model=model,
        source=Source(
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            timestamp=record.timestamp,
            message_id=message.message_id,
            fields=dict(message.fields),
            topic_id=record.mark.topic_id,
            epoch=record.mark.epoch,
        ),
        classified_at=now.astimezone(UTC),
    )


def cloud_event_headers(label: LabelRecord, incoming: Headers) -> Headers:
    """CloudEvents 1.0 binary-mode headers, after the input's own (`traceparent` and the like).

    Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2.
    """
    kept = tuple(
        (name, value)
        for name, value in foreign(incoming)
        if not name.startswith("ce_") and name.lower() != "content-type"
    )
    source = f"/{label.source.topic}/{label.source.partition}"
    return (
        *kept,
        *encoded(
            ("ce_specversion", "1.0"),
            ("ce_id", label.id),
            ("ce_type", CLOUD_EVENT_TYPE),
            ("ce_source", source),
            ("ce_time", label.classified_at.isoformat()),
            ("content-type", "application/json"),
        ),
    )
