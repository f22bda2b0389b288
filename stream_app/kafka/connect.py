"""Clients of kafka-python, with its exceptions as BrokerError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError, BrokerUnreachable
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.access import check_access, unreachable

CONNECT_SECONDS = 5.0
RECONNECT_MAX_MS = 1000  # for what runs on: kafka-python's 30 s outlast the broker's return


@contextmanager
def connected(client: type, kafka: KafkaClientSettings, **config: Any) -> Iterator[Any]:
    """A kafka-python client of the broker, closed on the way out.

    Raises AccessError if it refuses us or we it, BrokerError if none answers and for every
    Kafka error inside, ConfigError for a file of `[kafka]` that cannot be used.
    """
    try:
        check_access(kafka)
        opened = _opened(client, kafka, config)
    except BrokerUnreachable as error:
        raise BrokerUnreachable(
            f"{error}: start one, or check the address; `winnow broker` starts one for trying "
            "things out"
        ) from error
    try:
        with closing(opened):
            yield opened
    except KafkaError as error:
        raise BrokerError(f"the broker at {kafka.bootstrap_servers} says: {error}") from error


def _opened(client: type, kafka: KafkaClientSettings, config: dict[str, Any]) -> Any:
    try:
        return client(
            **kafka.client_arguments(), bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000), **config
        )
    except (KafkaError, ValueError, OSError) as error:
        raise unreachable(error, kafka) from error
