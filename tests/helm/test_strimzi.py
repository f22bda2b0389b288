"""The Kafka of the Strimzi example: its user may do what a worker does, on a real Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import yaml
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import TopicAuthorizationFailedError

from stream_app.core.settings import KafkaClientSettings
from tests.helm.conftest import EXAMPLES
from tests.integration.process import Worker
from tests.secured_kafka import Secured, secured_kafka

# Strimzi's `authorization: {type: simple}`; the open listener of the tests may do anything
AUTHORIZER = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
MAIL = b"Subject: minutes of the meeting\n\nThe next one is on Monday at ten."


def load(name: str) -> list[Any]:
    text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(text))


RESOURCES = {
    (each["kind"], each["metadata"]["name"]): each["spec"] for each in load("strimzi-kafka")
}
TOPICS = {name: spec for (kind, name), spec in RESOURCES.items() if kind == "KafkaTopic"}
[VALUES] = load("strimzi")
CONFIG = VALUES["config"]
USER = CONFIG["kafka"]["sasl_username"]
RIGHTS = RESOURCES["KafkaUser", USER]["authorization"]["acls"]


def test_the_topics_are_those_of_the_route():
    [route] = CONFIG["routes"]
    assert TOPICS.keys() == {"mail.dlq", "feedback", route["input_topic"], route["output_topic"]}
    assert {spec["partitions"] for spec in TOPICS.values()} == {CONFIG["topics"]["partitions"]}


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Secured]:
    """A broker with the topics and the rights of the example."""
    with secured_kafka(tmp_path, AUTHORIZER) as secured:
        admin = KafkaAdminClient(bootstrap_servers=secured.open)
        admin.create_topics(
            [NewTopic(name, spec["partitions"], 1) for name, spec in TOPICS.items()]
        )
        admin.create_acls(
            [
                ACL(
                    principal=f"User:{USER}",
                    host="*",
                    operation=ACLOperation[operation.upper()],
                    permission_type=ACLPermissionType.ALLOW,
                    resource_pattern=ResourcePattern(
                        ResourceType[right["resource"]["type"].upper()], right["resource"]["name"]
                    ),
                )
                for right in RIGHTS
                for operation in right["operations"]
            ]
        )
        admin.close()
        yield secured


def as_the_user(kafka: Secured) -> dict[str, Any]:
    """`[kafka]` of the example, for this broker."""
    here = {"bootstrap_servers": kafka.sasl_tls}
    return CONFIG["kafka"] | kafka.sasl_over("SASL_SSL", "SCRAM-SHA-512") | here


def test_the_user_may_do_what_a_worker_and_keda_do_and_no_more(kafka: Secured, tmp_path: Path):
    file = tmp_path / "winnow.toml"
    here = {"kafka": as_the_user(kafka), "metrics": {"port": 0}, "engine": {"backend": "fake"}}
    file.write_text(tomli_w.dumps(CONFIG | here))
    worker = Worker(file, tmp_path / "worker.log", {})
    try:
        worker.wait_for_log("consuming")
        producer = KafkaProducer(bootstrap_servers=kafka.open)
        producer.send("mail", MAIL)
        producer.send("mail", None, key=b"nothing")
        producer.close()
        came = KafkaConsumer(
            "mail.labels",
            "mail.dlq",
            bootstrap_servers=kafka.open,
            auto_offset_reset="earliest",
            consumer_timeout_ms=60_000,
        )
        assert {next(came).topic, next(came).topic} == {"mail.labels", "mail.dlq"}
        came.close()
        assert worker.stop() == 0
    finally:
        worker.kill()
    clients = KafkaClientSettings(**as_the_user(kafka)).client_arguments()
    admin = KafkaAdminClient(**clients)
    committed = admin.list_group_offsets("winnow")
    ends = admin.list_partition_offsets({TopicPartition("mail", 0): -1})
    admin.close()
    assert committed
    assert ends
    intruder = KafkaProducer(**clients)
    with pytest.raises(TopicAuthorizationFailedError):
        intruder.send("mail", MAIL).get(60)
    intruder.close()
