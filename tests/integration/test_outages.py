"""Brokers that come late or come back, and standbys that take over."""

from __future__ import annotations

import signal
from pathlib import Path

from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import apache_kafka, free_port
from tests.integration.harness import Stage, distinct, send
from tests.integration.process import wait_until_ready

FAST_GROUP = {"session_timeout_seconds": 6.0, "heartbeat_interval_seconds": 1.0}


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path, tiny_model: Path):
    broker_port, metrics_port = free_port(), free_port()
    stage = Stage(f"127.0.0.1:{broker_port}", tmp_path)
    stage.sections["metrics"] = {"port": metrics_port}
    topic = stage.route("text", "text", str(tiny_model))
    with stage.worker() as worker:
        worker.wait_for_log("waiting for a broker: the Kafka broker at")
        with EmbeddedBroker(broker_port):
            stage.create_topics()
            with stage.producer() as producer:
                send(producer, topic, [b"a good text"] * 20, stage.partitions)
            assert len(stage.collect(topic, distinct(20)).times) == 20
            wait_until_ready(f"http://127.0.0.1:{metrics_port}")
            assert worker.stop() == 0


def test_a_standby_without_partitions_takes_over(stage: Stage, tiny_model: Path):
    """One partition, two workers, the active one killed: Faust's own standby never rejoins."""
    stage.partitions = 1
    stage.sections["kafka"] = FAST_GROUP
    topic = stage.route("text", "text", str(tiny_model))
    stage.create_topics()
    ports = [free_port(), free_port()]
    with (
        stage.worker(WINNOW_METRICS__PORT=str(ports[0])) as first,
        stage.worker(WINNOW_METRICS__PORT=str(ports[1])) as second,
    ):
        for port in ports:
            wait_until_ready(f"http://127.0.0.1:{port}")
        with stage.producer() as producer:
            send(producer, topic, [b"a good text"] * 50, 1)
        stage.collect(topic, distinct(50))
        active, standby = sorted(
            (first, second), key=lambda worker: worker.consumed(), reverse=True
        )
        assert standby.consumed() == 0
        active.kill()
        with stage.producer() as producer:
            send(producer, topic, [b"a short text"] * 50, 1)
        found = stage.collect(topic, distinct(100))
        assert standby.stop() == 0
    assert len(found.times) == 100


def test_a_broker_that_is_killed_and_restarted_loses_nothing(tmp_path: Path, tiny_model: Path):
    """Apache Kafka keeps its records on disk, so it may crash in mid-stream."""
    port, total = free_port(), 6000
    with apache_kafka(tmp_path, port) as first_life:
        stage = Stage(first_life.address, tmp_path)
        topic = stage.route("text", "text", str(tiny_model), max_in_flight_records=64)
        stage.create_topics()
        with stage.producer() as producer:
            send(producer, topic, [b"a good text %d" % n for n in range(total)], stage.partitions)
        with stage.worker() as worker:
            stage.collect(topic, distinct(500))
            first_life.process.send_signal(signal.SIGKILL)
            first_life.process.wait()
            with apache_kafka(tmp_path, port):
                found = stage.collect(topic, distinct(total), 180)
                assert worker.stop() == 0
                assert sum(stage.committed(topic).values()) == total
    assert len(found.times) == total
    assert found.disorder == 0


def test_a_worker_told_to_end_while_the_broker_is_down_ends(tmp_path: Path, tiny_model: Path):
    """Its last commit waits for the broker for ever; the process must not."""
    with apache_kafka(tmp_path) as broker:
        stage = Stage(broker.address, tmp_path)
        topic = stage.route("text", "text", str(tiny_model), max_in_flight_records=64)
        stage.create_topics()
        with stage.producer() as producer:
            send(producer, topic, [b"a good text %d" % n for n in range(3000)], stage.partitions)
        with stage.worker() as worker:
            stage.collect(topic, distinct(200))
            broker.process.send_signal(signal.SIGKILL)
            broker.process.wait()
            assert worker.stop() == 0
            assert "exiting immediately" in worker.output
