"""Kafka clients of the commands; what they raise becomes a word about the broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from stream_app.core.errors import BrokerError

CONNECT_SECONDS = 5.0


@contextmanager
def connected(client: type, servers: str, **config: Any) -> Iterator[Any]:
    """A kafka-python client of the broker at `servers`, closed on the way out.

    Raises BrokerError where none answers, and for every Kafka error inside.
    """
    try:
        opened = client(
            bootstrap_servers=servers.split(","),
            bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
            **config,
        )
    except (KafkaError, ValueError, OSError) as error:
        raise BrokerError(
            f"no Kafka broker answers at {servers} ({type(error).__name__}): start one, "
            "or check the address; `winnow broker` starts one for trying things out"
        ) from error
    try:
        with closing(opened):
            yield opened
    except KafkaError as error:
        raise BrokerError(f"the broker at {servers} says: {error}") from error


def require_topics(servers: str, topics: Iterable[str]) -> None:
    """Raises BrokerError naming the topics that do not exist: asking for one may create it."""
    with connected(KafkaAdminClient, servers) as admin:
        missing = sorted(set(topics) - set(admin.list_topics()))
    if missing:
        names = ", ".join(map(repr, missing))
        raise BrokerError(
            f"the broker at {servers} has no topic {names}: check the name, "
            "or create it: winnow topics create --config FILE"
        )
