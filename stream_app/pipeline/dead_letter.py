"""Dead letters: the original record untouched, plus headers with the reason."""

from __future__ import annotations

import hashlib

from stream_app.core.errors import RecordError
from stream_app.core.headers import (
    ATTEMPTS,
    ERROR,
    MODEL,
    ORIGIN_ID,
    REASON,
    ROUTE,
    SOURCE,
    TIMESTAMP,
    VALUE_BYTES,
    VALUE_SHA256,
    encoded,
    foreign,
    of_mark,
)
from stream_app.core.messages import Headers, Record
from stream_app.pipeline.outgoing import Outgoing
from stream_app.pipeline.work import Past


def dead_letter(
    record: Record,
    error: RecordError,
    topic: str,
    route: str,
    model: str,
    past: Past | None = None,
    kept: Headers | None = None,
) -> Outgoing:
    """The dead letter of a record; too large, it goes without value, then without key as well.

    `kept` are headers to keep instead of the record's own.
    """
    headers = _headers(record, error, route, model, past)
    original = foreign(record.headers if kept is None else kept)

    def without_value() -> Outgoing:
        value = record.value or b""
        digest = hashlib.sha256(value).hexdigest()
        told = (*headers, *encoded((VALUE_SHA256, digest), (VALUE_BYTES, str(len(value)))))
        bare = Outgoing(topic, record, None, None, told)
        return Outgoing(topic, record, record.key, None, (*original, *told), lambda: bare)

    return Outgoing(topic, record, record.key, record.value, (*original, *headers), without_value)


def _headers(
    record: Record, error: RecordError, route: str, model: str, past: Past | None
) -> Headers:
    headers = [
        (ERROR, error.code),
        (REASON, str(error)),
        (ROUTE, route),
        (SOURCE, record.id),
        (TIMESTAMP, str(record.timestamp if record.timestamp is not None else "")),
        (ATTEMPTS, str(1 if past is None else past.attempts + 1)),
        (MODEL, model),
    ]
    if past is not None:
        headers.append((ORIGIN_ID, past.id))
    return (*encoded(*headers), *of_mark(record.mark))
