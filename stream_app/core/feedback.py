"""Feedback: the right label of a record, by its source. Its JSON Schema is in docs/."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator


class Feedback(BaseModel):
    """One correction, or confirmation: the value of a record of the feedback topic, as JSON.

    With `id` the text is read where the labelled record lies, so that none need be sent; `text` is
    for messages that are no longer, or never were, on the route's input topic.
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
    label: str = Field(min_length=1, max_length=200, description="the right one")
    route: str = Field(min_length=1, max_length=200, description="the route it is about")
    who: str = Field(
        min_length=1, max_length=200, description="a person, rule or system: the source"
    )
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
