"""The effect: each label of a batch is accepted by the receiver, or is a dead letter.

| a label fails                                  | then                                           |
|------------------------------------------------|------------------------------------------------|
| and the receiver takes no other                | all wait; a dead letter at `give_up_seconds`   |
| `TRIES` times, while the receiver takes others | it is a dead letter                            |
| with 410 Gone                                  | the process ends, and nothing is skipped       |
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError, BrokerUnreachable, ConfigError, SinkError
from stream_app.core.headers import ERROR, REASON, ROUTE, SOURCE, encoded
from stream_app.core.label_record import LabelRecord
from stream_app.core.settings import KafkaSettings, WebhookSettings
from stream_app.kafka.sending import producing
from stream_app.kafka.topics import require_topics
from stream_app.sinks.webhook.request import Outcome, Receiver
from stream_app.sinks.webhook.signing import message_id, read_secrets

log = logging.getLogger(__name__)

BATCH_FOLD = 4  # labels in a batch, as a multiple of the requests at once
TRIES = 10  # some two minutes
CODE = "webhook_failed"
CONFIRM_SECONDS = 20.0  # of a dead letter


@dataclass
class _Failing:
    """A label that was not delivered yet."""

    since: float  # on the monotonic clock
    tries: int = 0  # while the receiver took others
    problem: str = ""


class WebhookLabels:
    """Sends to one receiver. What it knows of a batch lasts until the batch is done."""

    def __init__(self, settings: WebhookSettings, kafka: KafkaSettings) -> None:
        """Raises ConfigError for an address or a secret that is none."""
        _check_url(settings.url)
        self._secrets = read_secrets(settings.secret_file)
        self._settings = settings
        self._kafka = kafka
        self._runner = asyncio.Runner()
        self._receiver: Receiver | None = None
        self._done: set[str] = set()  # ids of this batch: delivered, or a dead letter
        self._dead: set[str] = set()
        self._failing: dict[str, _Failing] = {}

    def check(self) -> None:
        """Whether there is a place for dead letters; the receiver shows itself by the first label.
        Raises BrokerError where there is none."""
        try:
            require_topics(self._kafka, [self._settings.dead_letter_topic])
        except BrokerUnreachable as error:
            raise SinkError(str(error)) from error

    def write(self, labels: Sequence[LabelRecord]) -> int:
        """Deliver each label once, in no order between them; how many became dead letters."""
        wanted = {message_id(label): label for label in labels}
        self._only(wanted)
        waiting = {key: label for key, label in wanted.items() if key not in self._done}
        outcomes = self._runner.run(self._deliver(waiting))
        self._take(outcomes)
        self._give_up({key: wanted[key] for key in self._hopeless()})
        if self._failing:
            wait = max(outcome.wait_seconds for outcome in outcomes.values())
            problem = next(iter(self._failing.values())).problem
            raise SinkError(f"{len(self._failing)} of {len(wanted)} labels wait: {problem}", wait)
        refused, self._done, self._dead = len(self._dead), set(), set()
        return refused

    def close(self) -> None:
        """Hang up."""
        if self._receiver is not None:
            self._runner.run(self._receiver.close())
        self._runner.close()

    def _only(self, wanted: Mapping[str, LabelRecord]) -> None:
        """Forget what is no longer in the batch: another member of the group has it now."""
        self._done &= wanted.keys()
        self._dead &= wanted.keys()
        self._failing = {key: each for key, each in self._failing.items() if key in wanted}

    async def _deliver(self, waiting: Mapping[str, LabelRecord]) -> Mapping[str, Outcome]:
        s = self._settings
        if self._receiver is None:
            self._receiver = Receiver(s.url, self._secrets, s.max_requests, s.timeout_seconds)
        outcomes = await asyncio.gather(*map(self._receiver.deliver, waiting.values()))
        return dict(zip(waiting, outcomes, strict=True))

    def _take(self, outcomes: Mapping[str, Outcome]) -> None:
        delivered = {key for key, outcome in outcomes.items() if not outcome.problem}
        self._done |= delivered
        for key in delivered:
            self._failing.pop(key, None)
        for key in outcomes.keys() - delivered:
            failing = self._failing.setdefault(key, _Failing(time.monotonic()))
            failing.tries += bool(delivered)
            failing.problem = outcomes[key].problem
        if any(outcome.gone for outcome in outcomes.values()):
            raise ConfigError(
                "the receiver answers 410 Gone: it wants no more labels. What it has not taken "
                "stays in Kafka; end this sink for good, or set another webhook.url"
            )

    def _hopeless(self) -> list[str]:
        longest, now = self._settings.give_up_seconds, time.monotonic()
        return [
            key
            for key, failing in self._failing.items()
            if failing.tries >= TRIES or now - failing.since >= longest
        ]

    def _give_up(self, labels: Mapping[str, LabelRecord]) -> None:
        """Labels to the dead-letter topic. Raises SinkError where it takes none."""
        if not labels:
            return
        topic = self._settings.dead_letter_topic
        try:
            with producing(self._kafka) as producer:
                sent = [
                    producer.send(
                        topic,
                        label.model_dump_json().encode(),
                        headers=list(_why(label, self._failing[key].problem)),
                    )
                    for key, label in labels.items()
                ]
                for delivery in sent:
                    delivery.get(CONFIRM_SECONDS)
        except (BrokerError, KafkaError) as error:
            raise SinkError(f"dead letters cannot be written to {topic}: {error}") from error
        for key, label in labels.items():
            problem = self._failing.pop(key).problem
            log.error("the label of %.300r is a dead letter: %s", label.id, problem)
        self._done |= labels.keys()
        self._dead |= labels.keys()


def _why(label: LabelRecord, problem: str) -> tuple[tuple[str, bytes], ...]:
    return encoded((ERROR, CODE), (REASON, problem), (ROUTE, label.route), (SOURCE, label.id))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(
            "webhook.url: write https://HOST/PATH, without a user and password in it: requests are "
            "signed"
        )
