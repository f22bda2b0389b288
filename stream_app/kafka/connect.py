"""Kafka clients of the commands; what they raise becomes a word about the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import aiokafka.errors
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError
from stream_app.core.settings import KafkaClientSettings
from stream_app.kafka.access import get_in, unreachable

CONNECT_SECONDS = 5.0


@contextmanager
def connected(client: type, kafka: KafkaClientSettings, **config: Any) -> Iterator[Any]:
    """A kafka-python client of the broker, closed on the way out.

    Raises AccessError where it refuses us or we it, BrokerError where none answers and for every
    Kafka error inside, ConfigError for a file of `[kafka]` that cannot be used.
    """
    servers = kafka.bootstrap_servers
    try:
        asyncio.run(get_in(kafka))
        opened = client(
            **kafka.client_arguments(),
            bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
            **config,
        )
    except (KafkaError, aiokafka.errors.KafkaError, ValueError, OSError) as error:
        raise BrokerError(
            f"the Kafka broker at {servers} {unreachable(error, kafka)}: start one, "
            "or check the address; `winnow broker` starts one for trying things out"
        ) from error
    try:
        with closing(opened):
            yield opened
    except KafkaError as error:
        raise BrokerError(f"the broker at {servers} says: {error}") from error


def require_topics(kafka: KafkaClientSettings, topics: Iterable[str]) -> None:
    """Raises BrokerError naming the topics that do not exist: asking for one may create it."""
    with connected(KafkaAdminClient, kafka) as admin:
        missing = sorted(set(topics) - set(admin.list_topics()))
    if missing:
        names = ", ".join(map(repr, missing))
        raise BrokerError(
            f"the broker at {kafka.bootstrap_servers} has no topic {names}: check the name, "
            "or create it: winnow topics create --config FILE"
        )
