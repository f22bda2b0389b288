"""Records at the times that they speak of: their timestamp, and a replay at a speed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from stream_app.codecs.json_object import find, load_object
from stream_app.core.errors import RecordError

_LATEST_SECONDS = 100_000_000_000  # a number beyond is in milliseconds; in seconds, the year 5138
_LARGEST = 2**53


def timestamp_of(value: bytes, field: str) -> int | None:
    """Milliseconds since the epoch in a field of a JSON object: a number of seconds or of
    milliseconds, or ISO 8601, in UTC where it does not say. None where there is no time."""
    try:
        found = find(load_object(value), field)
    except (RecordError, RecursionError):
        return None
    if isinstance(found, str):
        found = _number(found.strip())
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < _LARGEST:
        return None
    return round(found if found > _LATEST_SECONDS else found * 1000)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


class Pace:
    """When records are due that are replayed at `speed` times the speed at which they came.

    The first is due at once. One without a time, or of an earlier one than that before it, is too.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: int | None = None
        self._begun = 0.0

    def wait(self, timestamp: int | None) -> float:
        """Seconds until a record is due; 0 and less where it is."""
        if timestamp is None:
            return 0.0
        if self._first is None:
            self._first, self._begun = timestamp, time.monotonic()
        return self._begun + (timestamp - self._first) / 1000 / self._speed - time.monotonic()
