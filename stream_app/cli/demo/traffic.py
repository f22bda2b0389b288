"""Samples in, labels and dead letters out, each matched with the sample it belongs to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stream_app.cli.demo.samples import Sample
from stream_app.core.headers import ERROR, SOURCE
from stream_app.core.label_record import LabelRecord
from stream_app.core.messages import Record
from stream_app.core.settings import Settings
from stream_app.kafka.reading import record, take

_SEND_SECONDS = 10
_POLL_MS = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a sample: a label, or a dead letter with its error."""

    sample: Sample
    seconds: float  # from sending it to reading this
    label: str | None = None
    confidence: float = 0.0
    decision: str = ""
    error: str = ""

    @property
    def right(self) -> bool:
        """Whether it is the label a person gave."""
        return self.label == self.sample.expected


class Traffic:
    """Sends samples and reads what comes back. `waiting` counts those without an answer."""

    def __init__(self, settings: Settings, producer: Any, consumer: Any) -> None:
        self._producer = producer
        self._consumer = consumer
        self._inputs = {route.name: route.input_topic for route in settings.routes}
        self._sent: dict[str, tuple[Sample, float]] = {}  # by id
        topics = [t for r in settings.routes for t in (r.output_topic, r.dead_letter_topic)]
        take(consumer, topics, from_beginning=True)

    @property
    def waiting(self) -> int:
        """Samples that were sent and did not come back yet."""
        return len(self._sent)

    def send(self, sample: Sample) -> None:
        """Send one, and wait until the broker has it."""
        now = time.monotonic()
        at = self._producer.send(self._inputs[sample.route], sample.value).get(_SEND_SECONDS)
        self._sent[f"{at.topic}/{at.partition}/{at.offset}"] = (sample, now)

    def answers(self) -> Iterator[Answer]:
        """What has come back since, waiting a moment for it."""
        for polled in self._consumer.poll(_POLL_MS).values():
            for found in polled:
                yield from self._answer(record(found))

    def _answer(self, answer: Record) -> Iterator[Answer]:
        error = answer.header(ERROR)
        if error is not None:
            found = self._sent.pop(answer.header(SOURCE) or "", None)
            said: dict[str, Any] = {"error": error}
        else:
            label = LabelRecord.model_validate_json(answer.value or b"")
            found = self._sent.pop(label.id, None)
            said = label.model_dump(include={"label", "confidence", "decision"})
        if found is not None:  # else it came twice
            sample, sent = found
            yield Answer(sample, time.monotonic() - sent, **said)
