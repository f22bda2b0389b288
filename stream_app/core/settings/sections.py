"""The small sections of the configuration file, and the behaviour that every section shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_ADDRESS = r"^\S+:\d{1,5}$"


def is_list(field: FieldInfo) -> bool:
    """Whether the values of a setting are lists."""
    return get_origin(field.annotation) is tuple


class Section(BaseModel):
    """A part of the configuration file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _split(cls, value: Any, about: ValidationInfo) -> Any:
        """A list may be "a, b", as it is in the environment."""
        assert about.field_name is not None
        if isinstance(value, str) and is_list(cls.model_fields[about.field_name]):
            return [each.strip() for each in value.split(",") if each.strip()]
        return value


class TopicSettings(Section):
    """`[topics]`: the settings of `winnow topics create`."""

    partitions: int = Field(4, ge=1)
    replication_factor: int = Field(1, ge=1)


class MetricsSettings(Section):
    """`[metrics]`: where /metrics, /healthz and /readyz are served."""

    host: str = "127.0.0.1"
    port: int = Field(9108, ge=0, le=65535)  # 0 picks a free one


class EngineSettings(Section):
    """`[engine]`: how models run."""

    backend: str = "auto"  # or a name in `stream_app.engine.ENGINES`
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int = Field(0, ge=0)  # of one process; 0 takes every core
    early_exit: bool = False  # a text goes through as few layers as its label needs


class DriftSettings(Section):
    """`[drift]`: a window closes when it has had both: so many records, and so many seconds."""

    window_records: int = Field(1000, ge=0, le=100_000)  # drawn at random from more; 0 = off
    window_seconds: float = Field(60.0, ge=0)


class FeedbackSettings(Section):
    """`[feedback]`: where corrections are sent."""

    topic: str = Field("feedback", pattern=_TOPIC)


class RegistrySettings(Section):
    """`[registry]`: where registered models are looked up, and kept once fetched.

    For routes whose model is `models:/…`. A user and password for a server are MLflow's own
    variables, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or in its file
    ~/.mlflow/credentials: none belongs in the URI.
    """

    uri: str = Field(
        "sqlite:///winnow-registry.db", pattern=r"^(sqlite:///[^\s]+|https?://[^\s@]+)$"
    )
    cache: Path = Path(".winnow/models")
    poll_seconds: float = Field(1.0, gt=0, le=3600)


class FeedsSettings(Section):
    """`[feeds]`: what `winnow ingest feeds` reads."""

    route: str = ""  # that gets the items; the only one of format feed if not given
    opml: str = ""
    state: Path = Path(".winnow/feeds.db")
    http: str = Field("127.0.0.1:9110", pattern=_ADDRESS)
    allow_networks: tuple[IPvAnyNetwork, ...] = ()  # of feeds that are not on the public internet


class FilesSettings(Section):
    """`[files]`: what `winnow ingest files` remembers."""

    state: Path = Path(".winnow/files.db")
    http: str = Field("127.0.0.1:9116", pattern=_ADDRESS)  # while it follows


class FilterSettings(Section):
    """`[filter]`: how `winnow filter` is asked, and what a mail server does with the answers."""

    route: str = ""  # of the mail server's messages; the only one of format rfc822 if not given
    listen: str = Field(
        "unix:/run/winnow/filter.sock", pattern=r"^(unix:/.+|inet:(\S+:)?\d{1,5})?$"
    )  # '': no milter
    http: str = Field("127.0.0.1:9109", pattern=_ADDRESS)
    token_file: str = ""
    deadline_seconds: float = Field(1.5, ge=0.1, le=60)
    max_in_flight: int = Field(256, gt=0)
    corrections_per_hour: int = Field(100, gt=0)  # of one person
    headers: bool = True
    reject_at: float = Field(0.0, ge=0, le=1)  # confidence in spam; 0: never
    quarantine_at: float = Field(0.0, ge=0, le=1)  # the same


class PostgresSettings(Section):
    """`[postgres]`: where `winnow sink postgres` writes labels."""

    url: str = ""  # without a password; libpq's variables where it says nothing
    password_file: str = ""
    table: str = "labels"
    http: str = Field("127.0.0.1:9111", pattern=_ADDRESS)


class WebhookSettings(Section):
    """`[webhook]`: where `winnow sink webhook` sends labels."""

    url: str = ""
    secret_file: str = ""
    dead_letter_topic: str = Field("webhook.dlq", pattern=_TOPIC)
    max_requests: int = Field(8, ge=1, le=256)  # at once
    timeout_seconds: float = Field(10.0, ge=0.1, le=30)  # for an answer
    give_up_seconds: float = Field(86_400.0, gt=0)  # then a label is a dead letter
    http: str = Field("127.0.0.1:9112", pattern=_ADDRESS)


class FeedSinkSettings(Section):
    """`[feed_sink]`: what `winnow sink feed` serves."""

    file: Path = Path(".winnow/feed-sink.db")  # the items
    items: int = Field(50, ge=1, le=1000)  # in a feed
    base_url: str = Field("", pattern=r"^(https?://[^\s]+)?$")  # as readers see it
    hub: str = Field("", pattern=r"^(https?://[^\s]+)?$")  # of WebSub
    token_file: str = ""
    http: str = Field("127.0.0.1:9113", pattern=_ADDRESS)


class DashboardSettings(Section):
    """`[dashboard]`: where `winnow dashboard` is opened, and where it keeps what it counted."""

    listen: str = Field("127.0.0.1:9180", pattern=_ADDRESS)
    token_file: str = ""
    history: Path = Path(".winnow/dashboard.db")
    workers: tuple[str, ...] = ()  # HOST:PORT of their metrics; [metrics] of this file where none
