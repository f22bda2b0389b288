"""Topics: whether they exist, and creating them."""

from __future__ import annotations

from collections.abc import Iterable

from kafka import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError, for_code

from stream_app.core.errors import BrokerError
from stream_app.core.settings import KafkaClientSettings, TopicSettings
from stream_app.kafka.connect import connected


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


def create_topics(
    kafka: KafkaClientSettings, topics: Iterable[str], how: TopicSettings
) -> dict[str, bool]:
    """Create what is missing; topic -> whether it is new. Raises BrokerError for any refusal."""
    size = {"num_partitions": how.partitions, "replication_factor": how.replication_factor}
    wanted = dict.fromkeys(topics, size)
    with connected(KafkaAdminClient, kafka) as admin:
        answer = admin.create_topics(wanted, raise_errors=False)["topics"]
        errors = {topic["name"]: topic for topic in answer if topic["error_code"]}
        for name, topic in errors.items():
            if topic["error_code"] != TopicAlreadyExistsError.errno:
                reason = topic["error_message"] or for_code(topic["error_code"]).__name__
                raise BrokerError(f"topic {name!r} cannot be created: {reason}")
        admin.wait_for_topics(list(wanted))
    return {topic: topic not in errors for topic in wanted}
