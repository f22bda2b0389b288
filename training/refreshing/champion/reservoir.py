"""A sample of what came lately: texts of the route's input topic that nobody has labelled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from stream_app.codecs import CODECS
from stream_app.core.errors import RecordError
from stream_app.core.messages import Record
from stream_app.core.settings import KafkaClientSettings, RouteSettings
from stream_app.kafka.reading import Reader, reading
from stream_app.kafka.topics import require_topics
from stream_app.model.preparation import Preparation, prepare

_log = logging.getLogger(__name__)
_STRETCHES = 20  # of a partition: a burst of one kind is one of them, not the whole sample


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as the model saw it: its id, `topic/partition/offset`, and its prepared text."""

    id: str
    text: str


def sample(
    kafka: KafkaClientSettings, route: RouteSettings, how: Preparation, most: int
) -> list[Seen]:
    """About `most` records spread over all that the route's input topic still has; of equal texts
    the first. Raises BrokerError."""
    topic = route.input_topic
    require_topics(kafka, [topic])
    found: dict[str, Seen] = {}
    with reading(kafka) as records:
        for record in _spread(records, topic, most):
            text = _text(record, route, how)
            if text:
                found.setdefault(text, Seen(record.id, text))
    _log.info("route %s: a sample of %d texts of topic %s", route.name, len(found), topic)
    return list(found.values())


def _spread(records: Reader, topic: str, most: int) -> Iterator[Record]:
    begins, ends = records.begins(topic), records.ends(topic)
    share = -(-most // max(1, len(ends)))
    for number, end in ends.items():
        begin = begins[number]
        for first, last in _stretches(begin, end, share):
            yield from records.between(topic, {number: first}, {number: last})


def _stretches(begin: int, end: int, count: int) -> Iterator[tuple[int, int]]:
    """Of the offsets from `begin` to before `end` about `count`, in stretches evenly apart; the
    last stretch ends with them."""
    if end - begin <= count:
        yield begin, end
        return
    size = max(1, count // _STRETCHES)
    stretches = -(-count // size)
    for number in range(stretches):
        first = begin + number * (end - begin - size) // max(1, stretches - 1)
        yield first, first + size


def _text(record: Record, route: RouteSettings, how: Preparation) -> str:
    """'' where the model had nothing to read."""
    try:
        message = CODECS[route.format](record.value or b"", route.parse_spec)
    except RecordError:
        return ""
    return prepare(message.title, message.body, how)
