"""`Retry-After` of an answer (RFC 9110, 10.2.3): how long a server asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(value: str, most: float) -> float:
    """Seconds, at most `most`, given so or as a date; 0 for anything else, whatever it is."""
    try:
        seconds = float(value) if value.isascii() and value.isdigit() else _until(value)
    except (ValueError, OverflowError):
        return 0.0
    return min(most, max(0.0, seconds))


def _until(date: str) -> float:
    when = parsedate_to_datetime(date)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()
