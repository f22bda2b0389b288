"""The headers that Winnow writes: `ce_…` on labels, `winnow-…` on dead letters, replays, copies.

Any producer may write a header, so values read are checked.
"""

from __future__ import annotations

import re

from stream_app.core.messages import Headers, Mark, Record

PREFIX = "winnow-"

# kept from a record through its dead letter to its replay and its label
ORIGIN_ID = "winnow-origin-id"  # the id of the record it first was

# of a label: CloudEvents 1.0 in binary mode, by its Kafka protocol binding 1.0.2, section 3.2
CE_PREFIX = "ce_"
CE_SPECVERSION = "ce_specversion"
CE_ID = "ce_id"  # the label record's id
CE_TYPE = "ce_type"
CE_SOURCE = "ce_source"  # topic and partition of the labelled record
CE_TIME = "ce_time"
CONTENT_TYPE = "content-type"

# of a dead letter
ERROR = "winnow-error"  # RecordError.code
REASON = "winnow-reason"  # for a person
ROUTE = "winnow-route"
SOURCE = "winnow-source"  # the id of the failed record
TOPIC_ID = "winnow-topic-id"  # of that record's topic, where the broker says it; copies have it too
EPOCH = "winnow-epoch"  # of that record: the leader epoch; copies have it too
TIMESTAMP = "winnow-timestamp"  # of that record, milliseconds since the epoch
ATTEMPTS = "winnow-attempts"  # how often it has failed
MODEL = "winnow-model"
VALUE_SHA256 = "winnow-value-sha256"  # where the value was too large to keep
VALUE_BYTES = "winnow-value-bytes"

REPLAY_OF = "winnow-replay-of"  # of a record that was sent back: the id of its dead letter

# of a copy for review: what the model said
LABEL = "winnow-label"
CONFIDENCE = "winnow-confidence"

# of a challenger's label: what the champion said
CHAMPION_LABEL = "winnow-champion-label"
CHAMPION_MODEL = "winnow-champion-model"

_COUNT = re.compile(r"[0-9]{1,9}")  # no longer number is believed
_TOPIC_ID = re.compile(r"[\w-]{22}", re.ASCII)


def foreign(headers: Headers) -> Headers:
    """Those that are not Winnow's, such as `traceparent`: they stay with a record."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))


def encoded(*headers: tuple[str, str]) -> Headers:
    """Headers with their text as bytes."""
    return tuple((name, value.encode()) for name, value in headers)


def origin_id(record: Record) -> str:
    """The first id that a record written by Winnow itself names; else its own."""
    return record.header(ORIGIN_ID) or record.id


def attempts(record: Record) -> int:
    """How often a dead letter has failed so far, by its header; 0 without one."""
    said = record.header(ATTEMPTS) or ""
    return int(said) if _COUNT.fullmatch(said) else 0


def of_mark(mark: Mark) -> Headers:
    """The log that a record came from, as far as it is known."""
    told = ((TOPIC_ID, mark.topic_id), (EPOCH, mark.epoch))
    return encoded(*((name, str(value)) for name, value in told if value is not None))


def mark_of(record: Record) -> Mark:
    """What `of_mark` wrote."""
    topic_id, epoch = record.header(TOPIC_ID) or "", record.header(EPOCH) or ""
    return Mark(
        topic_id if _TOPIC_ID.fullmatch(topic_id) else None,
        int(epoch) if _COUNT.fullmatch(epoch) else None,
    )
