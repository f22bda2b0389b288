"""`[registry]`: where registered models are looked up, and kept once fetched."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stream_app.core.settings.section import Section


class RegistrySettings(Section):
    """For routes whose model is `models:/…`. A user and password for a server are MLflow's own
    variables, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: none belongs in the URI."""

    uri: str = Field(
        "sqlite:///winnow-registry.db", pattern=r"^(sqlite:///[^\s]+|https?://[^\s@]+)$"
    )
    cache: Path = Path(".winnow/models")
    poll_seconds: float = Field(1.0, gt=0, le=3600)
