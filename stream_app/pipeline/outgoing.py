"""What a route sends: a label or a dead letter, and who takes it to the broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from stream_app.core.label_record import cloud_event_headers, label_record
from stream_app.core.messages import Headers, Record
from stream_app.pipeline.work import Work


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish. `fallback` takes its place where the topic refuses it as too large."""

    topic: str
    source: Record  # the input it answers: its partition's number is the output's as well
    key: bytes | None
    value: bytes | None
    headers: Headers
    fallback: Callable[[], Outgoing] | None = None


class Sender(Protocol):
    """One try at a delivery guarantee."""

    async def send(self, batch: Sequence[Outgoing]) -> list[BaseException | None]:
        """One result an item, in order: None once the broker has it for good, else the error.

        An error says nothing about what the broker has. Raises BrokerError where going on would
        lose records.
        """
        ...

    def forget(self) -> None:
        """All partitions were revoked: another worker has what is in flight."""
        ...

    async def close(self) -> None:
        """Let go of every producer: its state is in doubt. The next `send` makes new ones."""
        ...


def label_of(work: Work, route: str, topic: str) -> Outgoing:
    """The label record of a work that has a prediction, for `topic`."""
    record, version = work.record, work.model.version
    assert work.message is not None
    assert work.prediction is not None
    now = datetime.now(UTC)
    label = label_record(record, work.message, work.prediction, route, version, now, work.id)
    value = label.model_dump_json().encode()
    return Outgoing(topic, record, record.key, value, cloud_event_headers(label, work.headers))
