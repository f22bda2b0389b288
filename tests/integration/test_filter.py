"""A filter and a worker on a real broker: labels and dead letters by HTTP, either guarantee."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from tests.integration.filters import Filter, ready_worker, running_filter
from tests.integration.harness import Stage


def ask(running: Filter, route: str, value: bytes) -> tuple[int, dict[str, Any]]:
    """Status and document of the answer."""
    request = urllib.request.Request(
        f"{running.url}/v1/label/{route}", value, {"Content-Type": "text/plain"}
    )
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_each_message_is_answered_with_its_own_label(
    stage: Stage, broker_kind: str, tiny_model: Path
):
    delivery = "effectively_once" if broker_kind == "apache" else "at_least_once"
    topics = {
        name: stage.route(name, "text", str(tiny_model), delivery=delivery)
        for name in ("one", "two")
    }
    stage.create_topics()
    with ready_worker(stage), running_filter(stage, "", "--deadline=60s") as running:
        answers = [
            (name, *ask(running, name, b"a good text " * n))
            for n in range(1, 11)
            for name in topics
        ]
        assert ask(running, "one", b" ") == (
            422,
            {
                "type": "about:blank",
                "title": "The message cannot be labelled",
                "status": 422,
                "reason": "dead_letter",
                "code": "no_text",
            },
        )
        assert running.outcomes() == {"labelled": 20, "dead_letter": 1}
        assert running.process.stop() == 0
    for name, topic in topics.items():
        asked = [answer for route, status, answer in answers if route == name and status == 200]
        labels = {label["id"]: label for label in stage.collected(topic).labels}
        assert [labels[answer["id"]] for answer in asked] == asked
        assert len(labels) == len(asked) == 10


def test_without_a_worker_the_answer_comes_by_the_deadline(
    any_broker: None, stage: Stage, tiny_model: Path
):
    stage.route("one", "text", str(tiny_model))
    stage.create_topics()
    with running_filter(stage, "", "--deadline=200ms") as running:
        status, answer = ask(running, "one", b"a good text")
        assert (status, answer["reason"]) == (503, "late")
        running.process.process.send_signal(signal.SIGINT)
        assert running.process.process.wait(60) == 0


def test_labels_on_partitions_that_are_added_are_read(
    stage: Stage, broker_kind: str, tiny_model: Path
):
    """Messages whose labels went there waited for their deadline, each of them."""
    if broker_kind == "tansu":
        pytest.skip("the embedded broker adds no partitions")
    topic = stage.route("one", "text", str(tiny_model))
    stage.partitions = 1
    stage.create_topics()
    _add_a_partition(stage, topic)
    with running_filter(stage, "", "--deadline=60s") as running:
        _add_a_partition(stage, f"{topic}.labels", f"{topic}.dlq")
        with ready_worker(stage):
            answers = [ask(running, "one", b"a good text") for _ in range(16)]
    assert {status for status, _ in answers} == {200}
    assert {answer["source"]["partition"] for _, answer in answers} == {0, 1}


def _add_a_partition(stage: Stage, *topics: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stage.address)
    try:
        admin.create_partitions({topic: NewPartitions(2) for topic in topics})
    finally:
        admin.close()
