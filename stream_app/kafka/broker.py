"""First requests to a broker: its topics, and its features."""

from __future__ import annotations

from dataclasses import dataclass

from kafka.errors import IncompatibleBrokerVersion, UnknownError
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest

from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.access import Connection, connection

TRANSACTION_TIMEOUT_MS = 60_000  # required by the request, without meaning for idempotence alone


@dataclass(frozen=True, slots=True)
class Broker:
    """Its topics, and whether it has idempotent producers and transactions (embedded: neither)."""

    topics: frozenset[str]
    idempotent_producers: bool


def ask_broker(kafka: KafkaClientSettings) -> Broker:
    """Ask once. Raises BrokerUnreachable without an answer, AccessError if the broker refuses us or
    we it, ConfigError for a file that cannot be used."""
    with connection(kafka) as asked:
        found = asked.ask(MetadataRequest(topics=None)).topics
        topics = frozenset(topic.name for topic in found if not topic.error_code)
        return Broker(topics, _idempotent(asked))


def topic_ids(kafka: KafkaClientSettings) -> dict[str, str]:
    """The id of each topic: another one where a topic was made again. Raises as `ask_broker`."""
    with connection(kafka) as asked:
        found = asked.ask(MetadataRequest(topics=None)).topics
        return {topic.name: str(topic.topic_id) for topic in found if not topic.error_code}


def _idempotent(asked: Connection) -> bool:
    """A broker without idempotence refuses the request as unknown, a busy one does not."""
    request = InitProducerIdRequest(
        version=0,  # the worker's producers ask so, and the embedded broker answers later ones
        transactional_id=None,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
    )
    try:
        answer = asked.ask(request)
    except IncompatibleBrokerVersion:
        return False
    return bool(answer.error_code != UnknownError.errno)
