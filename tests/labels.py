"""Label records for tests of what reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stream_app.core.label_record import LabelRecord, ModelVersion, Source

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def a_label(number: int = 0, later: float = 0.0, **changes: Any) -> LabelRecord:
    """The label of record `number` of the topic `mail`, made `later` seconds after START. Changes
    named `source_…` are of its source."""
    of_source = {
        name.removeprefix("source_"): changes.pop(name)
        for name in list(changes)
        if name.startswith("source_")
    }
    source = Source(topic="mail", partition=0, offset=number, timestamp=1_777_000_000_000)
    found = LabelRecord(
        id=f"mail/0/{number}",
        route="mail",
        label="spam",
        labels=["spam"],
        confidence=0.9,
        scores={"ham": 0.1, "spam": 0.9},
        decision="spam",
        model=ModelVersion(name="spam", version="1", digest="d" * 64),
        source=source.model_copy(update=of_source),
        classified_at=START + timedelta(seconds=later),
    )
    return found.model_copy(update=changes)
