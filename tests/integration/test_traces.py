"""Traces through a real broker and worker to a real collector, and a log in JSON beside them."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
import tomli_w

from stream_app.__main__ import main
from tests.collector import collecting
from tests.command_line import run_main
from tests.integration.harness import Stage
from tests.integration.process import Worker

ON = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0",
    "OTEL_BSP_SCHEDULE_DELAY": "3600000",  # so that all comes at the end, or not at all
}
SPAN = "b7ad6b7169203331"


def produce(stage: Stage, topic: str, count: int) -> dict[int, str]:
    """Records of one partition, each third one sampled by its sender; the trace of each offset."""
    traces = {}
    with stage.producer() as producer:
        for offset in range(count):
            traces[offset] = f"{offset + 1:032x}"
            context = f"00-{traces[offset]}-{SPAN}-{'00' if offset % 3 else '01'}"
            headers = [("traceparent", context.encode())]
            producer.send(topic, b"free money, friend", partition=0, headers=headers)
    return traces


def labels(stage: Stage, topic: str, count: int) -> list[tuple[int, str]]:
    """Offset and context of each label there is, once there are so many."""
    stage.collect(topic, lambda found: len(found.labels) >= count)
    return [
        (json.loads(record.value)["source"]["offset"], dict(record.headers)["traceparent"].decode())
        for record in stage.records(f"{topic}.labels")
    ]


def test_a_trace_goes_from_the_input_through_the_batch_to_the_label(
    stage: Stage, tiny_model: Path, broker_kind: str
):
    delivery = "effectively_once" if broker_kind == "apache" else "at_least_once"
    topic = stage.route("mail", "text", str(tiny_model), delivery=delivery)
    stage.create_topics()
    with collecting() as collector:
        environment = ON | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        log = stage.folder / "worker.log"
        command = ("worker", "--log-format", "json")
        worker = Worker(stage.config, log, environment, command=command)
        stage.running.append(worker)
        try:
            traces = produce(stage, topic, 30)
            contexts = labels(stage, topic, 30)
            assert worker.stop() == 0
        finally:
            worker.kill()

    sends = {span.span_id.hex(): span for span in collector.named(f"send {topic}.labels")}
    records = {span.span_id: span for span in collector.named(f"process {topic}")}
    assert len(sends) == len(records) == 10
    for offset, context in contexts:
        _, trace, parent, flags = context.split("-")
        assert trace == traces[offset]
        assert bool(int(flags, 16) & 1) is (offset % 3 == 0)
        if offset % 3:
            continue
        process = records[sends[parent].parent_span_id]
        told = {a.key: a.value for a in process.attributes}
        assert process.parent_span_id.hex() == SPAN
        assert {process.trace_id.hex(), sends[parent].trace_id.hex()} == {trace}
        assert told["messaging.kafka.offset"].int_value == offset
        assert told["messaging.consumer.group.name"].string_value == stage.group
    batches = collector.named("classify mail")
    assert {link.span_id for batch in batches for link in batch.links} == set(records)
    assert {batch.parent_span_id for batch in batches} <= set(records)
    assert {resource["service.name"] for resource in collector.resources} == {"winnow"}
    assert b"friend" not in b"".join(span.SerializeToString() for span in collector.spans)

    said = [json.loads(line) for line in worker.output.splitlines()]
    assert any(line["message"] == f"consuming {topic}" for line in said)


@pytest.mark.usefixtures("any_broker")
def test_a_collector_that_never_answers_holds_up_nothing(stage: Stage, tiny_model: Path):
    topic = stage.route("mail", "text", str(tiny_model))
    stage.create_topics()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with stage.worker(**ON, OTEL_EXPORTER_OTLP_ENDPOINT=url) as worker:
            produce(stage, topic, 9)
            assert len(labels(stage, topic, 9)) == 9
            assert worker.stop() == 0
    assert "Traceback" not in worker.output


class TestRefused:
    @pytest.fixture
    def config(self, tmp_path: Path) -> str:
        route = {"name": "mail", "format": "text", "model": "builtin:spam"}
        topics = {"input_topic": "mail", "output_topic": "labels"}
        file = tmp_path / "winnow.toml"
        file.write_text(tomli_w.dumps({"routes": [route | topics]}))
        return str(file)

    def test_traces_without_their_extra(self, config: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
        monkeypatch.setitem(sys.modules, exporter, None)
        done = run_main(main, "worker", "--config", config)
        assert done.returncode == 2
        assert done.stderr == (
            "winnow: OTEL_TRACES_EXPORTER=otlp needs an extra: pip install 'winnow-stream[trace]'\n"
        )

    @pytest.mark.parametrize(
        ("variable", "value", "why"),
        [
            ("OTEL_TRACES_EXPORTER", "zipkin", "it is otlp, or none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "as http/protobuf only"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "1", "a variable OTEL_"),
        ],
    )
    def test_what_cannot_be_had(
        self, config: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
    ):
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv(variable, value)
        done = run_main(main, "worker", "--config", config)
        assert done.returncode == 2, done
        assert why in done.stderr
