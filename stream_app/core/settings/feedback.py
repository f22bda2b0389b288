"""`[feedback]`: where corrections are sent."""

from __future__ import annotations

from pydantic import Field

from stream_app.core.settings.section import Section

_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"


class FeedbackSettings(Section):
    """Where corrections are sent."""

    topic: str = Field("feedback", pattern=_TOPIC)
