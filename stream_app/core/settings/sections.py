"""The small sections of the configuration file, and the behaviour that every section shares."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"


class Section(BaseModel):
    """A part of the configuration file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    variables, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: none belongs in the URI.
    """

    uri: str = Field(
        "sqlite:///winnow-registry.db", pattern=r"^(sqlite:///[^\s]+|https?://[^\s@]+)$"
    )
    cache: Path = Path(".winnow/models")
    poll_seconds: float = Field(1.0, gt=0, le=3600)


class FilterSettings(Section):
    """`[filter]`: how `winnow filter` is asked, and what a mail server does with the answers."""

    route: str = ""  # of the mail server's messages; the only one of format rfc822 if not given
    listen: str = Field(
        "unix:/run/winnow/filter.sock", pattern=r"^(unix:/.+|inet:(\S+:)?\d{1,5})?$"
    )  # '': no milter
    http: str = Field("127.0.0.1:9109", pattern=r"^\S+:\d{1,5}$")
    token_file: str = ""
    deadline_seconds: float = Field(2.0, ge=0.1, le=60)
    max_in_flight: int = Field(256, gt=0)
    headers: bool = True
    reject_at: float = Field(0.0, ge=0, le=1)  # confidence in spam; 0: never
    quarantine_at: float = Field(0.0, ge=0, le=1)  # the same


class DashboardSettings(Section):
    """`[dashboard]`: where `winnow dashboard` is opened, and where it keeps what it counted."""

    listen: str = Field("127.0.0.1:9180", pattern=r"^\S+:\d{1,5}$")
    token_file: str = ""
    history: Path = Path(".winnow/dashboard.db")
    workers: tuple[str, ...] = ()  # HOST:PORT of their metrics; [metrics] of this file where none
