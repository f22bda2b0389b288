"""Dead letters: the original record untouched, plus headers that tell a person what was wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from stream_app.core.errors import RecordError
from stream_app.core.label_record import ORIGIN_ID
from stream_app.core.messages import Headers, Record

ATTEMPTS = "winnow-attempts"
SOURCE = "winnow-source"
ERROR = "winnow-error"
REASON = "winnow-reason"
ROUTE = "winnow-route"
VALUE_SHA256 = "winnow-value-sha256"
VALUE_BYTES = "winnow-value-bytes"
COUNT = re.compile(r"[0-9]{1,9}")  # anybody may write a header: no longer number is believed


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish. `fallback` takes its place where the topic refuses it as too large."""

    topic: str
    source: Record  # the input it answers: its partition's number is the output's as well
    key: bytes | None
    value: bytes | None
    headers: Headers
    fallback: Callable[[], Outgoing] | None = None


def dead_letter(record: Record, error: RecordError, topic: str, route: str, model: str) -> Outgoing:
    """The dead letter of a record; too large, it goes without value, then without key as well."""
    headers = _headers(record, error, route, model)
    original = tuple(h for h in record.headers if not h[0].startswith("winnow-"))

    def without_value() -> Outgoing:
        value = record.value or b""
        digest = hashlib.sha256(value).hexdigest().encode()
        told = (*headers, (VALUE_SHA256, digest), (VALUE_BYTES, str(len(value)).encode()))
        bare = Outgoing(topic, record, None, None, told)
        return Outgoing(topic, record, record.key, None, (*original, *told), lambda: bare)

    return Outgoing(topic, record, record.key, record.value, (*original, *headers), without_value)


def _headers(record: Record, error: RecordError, route: str, model: str) -> Headers:
    before = record.header(ATTEMPTS)
    attempts = int(before) + 1 if before and COUNT.fullmatch(before) else 1
    headers = [
        (ERROR, error.code),
        (REASON, str(error)),
        (ROUTE, route),
        (SOURCE, record.id),
        ("winnow-timestamp", str(record.timestamp if record.timestamp is not None else "")),
        (ATTEMPTS, str(attempts)),
        ("winnow-model", model),
    ]
    origin = record.header(ORIGIN_ID)
    if origin:
        headers.append((ORIGIN_ID, origin))
    return tuple((name, value.encode()) for name, value in headers)
