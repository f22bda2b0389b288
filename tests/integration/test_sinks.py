"""Sinks as processes: what comes to a label topic is where it belongs, once, and they say so."""

from __future__ import annotations

import signal

import psycopg
import pytest

from tests.conftest import free_port
from tests.integration.faults.scene import until
from tests.integration.harness import Stage
from tests.integration.process import (
    PATIENCE,
    get,
    wait_for_metric,
    wait_until_ready,
    wait_until_unready,
)
from tests.integration.sinks import numbered, said, send_labels, sink
from tests.receiver import Receiver, listening, secret_file

GONE, MADE_AGAIN = "not found in cluster metadata", "was made again: partition 3"
WRITTEN = 'winnow_sink_records_total{outcome="written",sink="%s"}'


def rows(database: str, what: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(f"SELECT {what} FROM labels".encode()).fetchall()


@pytest.mark.usefixtures("any_broker")
def test_labels_come_into_the_table_once(stage: Stage, database: str):
    topic = stage.route("mail", "text", "builtin:spam")
    stage.create_topics()
    send_labels(stage, topic, numbered(stage, topic, range(500)))
    with stage.producer() as producer:
        producer.send(f"{topic}.labels", b"no label", partition=0)
        producer.send(f"{topic}.labels", None, key=b"gone", partition=1)
    with sink(stage, "postgres", "--url", database, port=free_port()) as running:
        url = f"http://127.0.0.1:{running.port}"
        text = wait_for_metric(url, WRITTEN % "postgres", "500.0")
        assert 'winnow_sink_records_total{outcome="invalid",sink="postgres"} 2.0' in text
        wait_until_ready(url)
        with psycopg.connect(database) as rival:  # the table answers nobody, for now
            rival.execute("LOCK TABLE labels")
            send_labels(stage, topic, numbered(stage, topic, range(500, 600)))
            wait_until_unready(url, "has been at one piece of work")
        wait_for_metric(url, WRITTEN % "postgres", "600.0")
        lag = f'winnow_sink_lag_records{{sink="postgres",topic="{topic}.labels"}}'
        wait_for_metric(url, lag, "0.0")
        assert get(f"{url}/healthz")[0] == 200
        assert running.stop() == 0
    labels = {label.id: said(n) for n, label in enumerate(numbered(stage, topic, range(600)))}
    assert dict(rows(database, "id, label")) == labels


@pytest.mark.usefixtures("any_broker")
def test_dead_letters_of_a_webhook_are_sent_again_each_once(stage: Stage):
    topic, dead = stage.route("mail", "text", "builtin:spam"), f"{stage.name}.dead"
    stage.create_topics(more=[dead])
    labels = numbered(stage, topic, range(20))
    with listening(Receiver()) as receiver:
        stage.sections["webhook"] = {
            "url": receiver.url,
            "secret_file": secret_file(stage.folder),
            "dead_letter_topic": dead,
        }
        for count in (15, 20, 20):
            with stage.producer() as producer:
                for label in labels[len(receiver.labels) : count]:
                    producer.send(dead, label.model_dump_json().encode())
            with sink(stage, "webhook", "--dead-letters") as running:
                assert running.process.wait(PATIENCE) == 0, running.output
            assert receiver.labels.keys() == {label.id for label in labels[:count]}
        assert receiver.taken.total() == 20


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard-gone"])
def test_labels_of_a_topic_that_was_made_again_are_all_written(
    stage: Stage, broker_kind: str, heard: bool
):
    """Its first ones lie where the sink has read already. One that hears in between that the topic
    is gone gives its partitions up, and an Apache broker forgets what it committed."""
    if heard and broker_kind == "tansu":
        pytest.skip("the embedded broker makes a topic that it is asked for")
    topic, dead = stage.route("mail", "text", "builtin:spam"), f"{stage.name}.dead"
    stage.create_topics(more=[dead])
    before, after = numbered(stage, topic, range(40)), numbered(stage, topic, range(100, 180))
    with listening(Receiver()) as receiver:
        stage.sections["webhook"] = {
            "url": receiver.url,
            "secret_file": secret_file(stage.folder),
            "dead_letter_topic": dead,
        }
        with sink(stage, "webhook", port=free_port()) as running:
            url = f"http://127.0.0.1:{running.port}"
            send_labels(stage, topic, before)
            wait_for_metric(url, WRITTEN % "webhook", "40.0")
            if heard:
                stage.delete(f"{topic}.labels")
                running.wait_for_log(GONE)
            running.process.send_signal(signal.SIGSTOP)
            stage.make_again(f"{topic}.labels")
            send_labels(stage, topic, after)
            running.process.send_signal(signal.SIGCONT)
            wanted = {label.id for label in before + after}
            until(lambda: receiver.labels.keys() == wanted, PATIENCE, "every label")
            assert any(line in running.output for line in (MADE_AGAIN, GONE))
            assert running.stop() == 0
