"""`[[routes]]`: a topic in, a model, a topic out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stream_app.core.messages import ParseSpec
from stream_app.core.settings.sections import Section

Role = Literal["title", "subject", "body", "text", "rating", "id"]


def _topic(name: str) -> str:
    allowed = name and len(name) <= 249 and all(c.isalnum() or c in "._-" for c in name)
    if not allowed or not name.isascii():
        raise ValueError("a topic name has 1 to 249 of: a-z A-Z 0-9 . _ -")
    return name


Topic = Annotated[str, AfterValidator(_topic)]


class LabelSettings(Section):
    """What turns the bytes of a record into a decision, and how much of that at once."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    format: str  # a name in `stream_app.codecs.CODECS`
    model: str = Field(min_length=1)
    field_names: dict[Role, str] = Field(default_factory=dict)  # format json: role -> field name
    pass_fields: tuple[str, ...] = ()
    min_confidence: float | None = Field(None, ge=0, le=1)  # instead of the model's decide_at
    on_no_text: Literal["label", "dead_letter"] = "label"  # pictures or files, and no words
    max_record_bytes: int = Field(10 * 1024 * 1024, gt=0)
    max_batch_tokens: int = Field(0, ge=0)  # 0: measured when the model is warm
    max_batch_records: int = Field(0, ge=0)  # 0: what the engine takes, 64 on a CPU
    max_batch_delay_seconds: float = Field(0.02, ge=0, le=5)
    max_in_flight_records: int = Field(0, ge=0)  # 0: eight such batches
    max_in_flight_bytes: int = Field(64 * 1024 * 1024, gt=0)

    @property
    def parse_spec(self) -> ParseSpec:
        """The codec's arguments."""
        names = {str(role): field for role, field in self.field_names.items()}
        return ParseSpec(names, self.pass_fields)


class RouteSettings(LabelSettings):
    """And which topics it reads and writes, by which guarantee, beside which other model."""

    challenger: str = ""  # a second model, tried on live traffic: for comparison only, or for real
    shadow_share: float = Field(0.0, ge=0, le=1)  # of the records, by key
    canary_share: float = Field(0.0, ge=0, le=1)
    input_topic: Topic
    output_topic: Topic
    dead_letter_topic: Topic = ""  # <input_topic>.dlq where not given
    delivery: Literal["at_least_once", "effectively_once"] = "at_least_once"
    review_share: float = Field(0.0, ge=0, le=1)  # of the records, copied to <input_topic>.review
    review_unsure: bool = False  # and those whose decision is "unsure"

    @model_validator(mode="before")
    @classmethod
    def _default_dead_letters(cls, data: dict[str, Any]) -> dict[str, Any]:
        if isinstance(data, dict) and not data.get("dead_letter_topic"):
            return {**data, "dead_letter_topic": f"{data.get('input_topic', '')}.dlq"}
        return data

    @property
    def shadow_topic(self) -> str:
        """Where the challenger's labels go that are for comparison only."""
        return f"{self.output_topic}.shadow"

    @property
    def review_topic(self) -> str:
        """The topic of records for people to label; '' without review."""
        return f"{self.input_topic}.review" if self.review_share or self.review_unsure else ""

    @property
    def written_topics(self) -> tuple[str, ...]:
        """The topics a worker writes for this route."""
        shadow = self.shadow_topic if self.shadow_share else ""
        named = (self.output_topic, self.dead_letter_topic, self.review_topic, shadow)
        return tuple(filter(None, named))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic the route needs."""
        return (self.input_topic, *self.written_topics)

    @model_validator(mode="after")
    def _topics_differ(self) -> RouteSettings:
        if len(set(self.topics)) < len(self.topics):
            raise ValueError(
                "input_topic, output_topic, dead_letter_topic, <input_topic>.review and "
                "<output_topic>.shadow must differ"
            )
        return self

    @model_validator(mode="after")
    def _challenger_has_its_share(self) -> RouteSettings:
        shares = (self.shadow_share, self.canary_share)
        if all(shares):
            raise ValueError("give shadow_share or canary_share, not both: shadow first")
        if bool(self.challenger) != any(shares):
            raise ValueError("a challenger needs shadow_share or canary_share, and they need it")
        return self
