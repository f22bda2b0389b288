"""The effect: each label's record is looked up in the input topic, for its title and link alone."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from stream_app.codecs import CODECS
from stream_app.core.errors import BrokerError, RecordError, SinkError
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Message, ParseSpec, Partition, Record
from stream_app.core.settings import KafkaSettings, RouteSettings
from stream_app.kafka.reading import reading
from stream_app.sinks.feed.store import Item, Store

BATCH = 1000  # labels
LINKS = ("link", "url")  # where RSS, Atom and JSON items have it
MAX_TITLE_CHARS = 300
UNTITLED = "(no title)"
_SPACE = uuid.UUID("5a0d5a8e-6d1c-4a55-9f6a-2f6e1a3f7c11")  # of the items' ids


class FeedItems:
    """Puts the newest labels of each batch into the store."""

    def __init__(
        self, store: Store, kafka: KafkaSettings, routes: Sequence[RouteSettings], most: int
    ) -> None:
        """`most` items are shown of a feed: no more are looked up."""
        self._store = store
        self._kafka = kafka
        self._routes = {route.name: route for route in routes}
        self._most = most

    def check(self) -> None:
        """The store was opened before."""

    def write(self, labels: Sequence[LabelRecord]) -> int:
        """None is refused: a record that is gone, or cannot be read, has no item."""
        try:
            items = [self._items(*found) for found in self._records(self._newest(labels))]
            self._store.put([each for each in items if each])
        except (BrokerError, sqlite3.Error) as error:
            raise SinkError(f"the feeds cannot be filled: {error}") from error
        return 0

    def close(self) -> None:
        """Nothing is open between two writes."""

    def _newest(self, labels: Sequence[LabelRecord]) -> list[LabelRecord]:
        """Those that are still shown when the batch is written."""
        by_feed: dict[tuple[str, str], list[LabelRecord]] = defaultdict(list)
        for label in sorted(labels, key=_published, reverse=True):
            for feed in feeds_of(label):
                if len(by_feed[label.route, feed]) < self._most:
                    by_feed[label.route, feed].append(label)
        chosen = {id(label): label for each in by_feed.values() for label in each}
        return list(chosen.values())

    def _records(self, labels: Sequence[LabelRecord]) -> list[tuple[LabelRecord, Record]]:
        """Those whose record is still there, in its route's own topic only."""
        wanted: dict[Partition, dict[int, list[LabelRecord]]] = defaultdict(dict)
        for label in labels:
            source = label.source
            if source.topic == self._routes[label.route].input_topic:
                offsets = wanted[Partition(source.topic, source.partition)]
                offsets.setdefault(source.offset, []).append(label)
        if not wanted:
            return []
        with reading(self._kafka) as reader:
            return [
                (label, record)
                for partition, offsets in wanted.items()
                for offset, record in reader.at(partition, offsets)
                for label in offsets[offset]
                if isinstance(record, Record) and record.timestamp == label.source.timestamp
            ]

    def _items(self, label: LabelRecord, record: Record) -> list[Item]:
        message = _message(self._routes[label.route], record)
        if message is None:
            return []
        key = uuid.uuid5(_SPACE, f"{label.id} {label.source.topic_id} {label.source.epoch}")
        title = " ".join(message.title.split())[:MAX_TITLE_CHARS] or UNTITLED
        return [
            Item(
                label.route,
                feed,
                str(key),
                title,
                next(_links(message), ""),
                _published(label),
                feed if feed in label.scores else label.label,
                label.scores.get(feed, label.confidence),
                label.classified_at.timestamp(),
                time.time(),
            )
            for feed in feeds_of(label)
        ]


def feeds_of(label: LabelRecord) -> Sequence[str]:
    """The feeds a label is in: that of its decision, or of each of them."""
    return label.decisions or [label.decision]


def _published(label: LabelRecord) -> float:
    """The record's own time, or the label's where that is none of our calendar."""
    seconds = (label.source.timestamp or 0) / 1000
    try:
        datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        seconds = 0.0
    return seconds if seconds > 0 else label.classified_at.timestamp()


def _message(route: RouteSettings, record: Record) -> Message | None:
    """As the route reads it, with its link."""
    spec = ParseSpec(route.parse_spec.names, LINKS)
    try:
        return CODECS[route.format](record.value or b"", spec)
    except RecordError as error:
        return getattr(error, "found", None)  # of a message that has no words


def _links(message: Message) -> Iterator[str]:
    """Addresses that a reader may follow: a javascript: or data: link could act as the reader."""
    for name in LINKS:
        link = str(message.fields.get(name) or "").strip()
        try:
            parts = urlsplit(link)
        except ValueError:
            continue
        if parts.scheme in ("http", "https") and parts.hostname and link.isprintable():
            yield link.replace(" ", "%20")
