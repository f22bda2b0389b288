"""`[drift]`: how much of what is labelled is compared with what the model knew."""

from __future__ import annotations

from pydantic import Field

from stream_app.core.settings.section import Section


class DriftSettings(Section):
    """A window closes when it has had both: so many records, and so many seconds."""

    window_records: int = Field(1000, ge=0, le=100_000)  # drawn at random from more; 0 = off
    window_seconds: float = Field(60.0, ge=0)
