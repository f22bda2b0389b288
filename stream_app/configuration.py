"""The configuration of a worker, its names checked against the codecs and the engines there are."""

from __future__ import annotations

from pathlib import Path

from stream_app.codecs import CODECS
from stream_app.core.settings import Settings, read_settings
from stream_app.engine import backends


def load_settings(file: Path | None) -> Settings:
    """Read `file` and the environment. Raises ConfigError: the key, its value, what is allowed."""
    return read_settings(file, CODECS, backends())
