"""The text behind a label, read where its record lies; and corrections, to the feedback topic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.feedback import told
from stream_app.core.messages import Partition, Record
from stream_app.core.settings import RouteSettings, Settings
from stream_app.kafka.reading import reading
from stream_app.kafka.sending import sending

MAX_CHARS = 4_000  # of a body
_ID = re.compile(r"([A-Za-z0-9._-]{1,249})/(\d{1,9})/(\d{1,18})")


class Unknown(LookupError):
    """There is no such text; the message says why, for a reader of the page."""


def text_of(settings: Settings, route: RouteSettings, label_id: str) -> Mapping[str, Any]:
    """Title and body of a labelled record. Raises Unknown, BrokerError. It blocks."""
    found = _ID.fullmatch(label_id)
    if found is None or found[1] != route.input_topic:
        raise Unknown("this is no id of the route's input")
    partition, offset = Partition(found[1], int(found[2])), int(found[3])
    with reading(settings.kafka) as reader:
        [(_, record)] = reader.at(partition, [offset])
    if not isinstance(record, Record):
        raise Unknown("the record is no longer on its topic")
    try:
        message = CODECS[route.format](record.value or b"", route.parse_spec)
    except RecordError:
        raise Unknown("the record cannot be read any more") from None
    return {
        "title": message.title[:MAX_CHARS],
        "body": message.body[:MAX_CHARS],
        "cut": len(message.body) > MAX_CHARS,
    }


def correct(
    settings: Settings, route: RouteSettings, label_id: str, labels: Sequence[str], who: str
) -> None:
    """Send the right labels of a record. Raises ValueError for what is none, BrokerError."""
    said = told(labels, route.name, who, id_=label_id)
    with sending(settings.kafka, settings.feedback.topic) as feedback:
        feedback.send(label_id, said.encoded, said.key)
        feedback.finish()
