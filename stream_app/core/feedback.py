"""Feedback: the right label of a record, or labels, by its source. Its JSON Schema is in docs/."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from stream_app.core.messages import UNMARKED, Mark

Name = Annotated[str, Field(min_length=1, max_length=200)]


class RightLabels(BaseModel):
    """What somebody says is right: a label, or labels where a text may have several."""

    label: Name | None = Field(None, description="the right one")
    labels: tuple[Name, ...] | None = Field(
        None,
        max_length=1000,
        description="instead of a label, where a text may have several: all the right ones",
    )

    @property
    def right(self) -> tuple[str, ...]:
        """The labels that are right, in order."""
        return tuple(sorted(self.labels or ())) if self.label is None else (self.label,)

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.label is None) == (self.labels is None):
            raise ValueError("give either a label, or labels")
        if len(set(self.right)) < len(self.right):
            raise ValueError("labels has one label twice")
        return self


class Feedback(RightLabels):
    """One correction, or confirmation: the value of a record of the feedback topic, as JSON.

    With `id` the text is read where the labelled record lies, so that none need be sent; `text` is
    for messages that are no longer, or never were, on the route's input topic. `label` or `labels`
    is given: a model that gives a text any number of labels learns all of these, and no other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}/\d{1,9}/\d{1,18}$",
        description="of the label record: topic/partition/offset of the route's input",
    )
    topic_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{22}$",
        description="source.topic_id of the label record: where the topic was made again since, "
        "the id is of another record",
    )
    epoch: int | None = Field(
        None,
        ge=0,
        description="source.epoch of the label record: where the log went back since, the same",
    )
    text: str | None = Field(
        None, min_length=1, description="instead of an id: the words themselves"
    )
    route: Name = Field(description="the route it is about")
    who: Name = Field(description="a person, rule or system: the source")
    when: AwareDatetime = Field(description="with a time zone")

    @property
    def encoded(self) -> bytes:
        """The value of its record."""
        return self.model_dump_json(exclude_none=True).encode()

    @property
    def key(self) -> bytes | None:
        """The key of its record."""
        return self.id.encode() if self.id else None

    @field_validator("when")
    @classmethod
    def _in_utc(cls, when: datetime) -> datetime:
        try:
            return when.astimezone(UTC)
        except OverflowError:
            raise ValueError("is before year 1 or after year 9999 in UTC") from None

    @model_validator(mode="after")
    def _one_text(self) -> Feedback:
        if (self.id is None) == (self.text is None):
            raise ValueError("give either the id of a label record or a text")
        return self


def told(
    labels: Sequence[str],
    route: str,
    who: str,
    id_: str | None = None,
    text: str | None = None,
    mark: Mark = UNMARKED,
) -> Feedback:
    """What a person says now: that these labels are right, of a record by its id, or of a text.

    Raises pydantic's ValidationError.
    """
    one = len(labels) == 1  # which every version reads
    return Feedback(
        id=id_,
        topic_id=mark.topic_id,
        epoch=mark.epoch,
        text=text,
        label=labels[0] if one else None,
        labels=None if one else tuple(labels),
        route=route,
        who=who,
        when=datetime.now(UTC),
    )
