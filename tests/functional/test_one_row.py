"""What docs/architecture.md says under "to add | touch" is true: a row, and nothing else.

Those of the trainer's tables are beside what they add to: `pytest -k is_a_row` runs all.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from click.testing import Result
from numpy.typing import NDArray
from prometheus_client import generate_latest
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.cli.ingest import ingest
from stream_app.cli.options import ConfigFile
from stream_app.cli.sink import sink
from stream_app.codecs import CODECS, Codec
from stream_app.configuration import load_settings
from stream_app.core.errors import ConfigError
from stream_app.core.health import Health
from stream_app.core.messages import Message, ParseSpec, Record
from stream_app.core.metrics import Metrics, counter
from stream_app.core.settings import FilterSettings
from stream_app.engine import ENGINES
from stream_app.engine.fake import FakeEngine
from stream_app.engine.protocol import Prior
from stream_app.filter.asking import FailOpen
from stream_app.filter.http import Api
from stream_app.kafka.embedded_broker import EmbeddedBroker
from stream_app.kafka.reading import read_topic
from stream_app.kafka.sending import sending
from stream_app.model.artifact import Artifact
from stream_app.pipeline.ack import AckTracker
from stream_app.pipeline.work import Work
from stream_app.sinks.follow import Received
from stream_app.sinks.process import Sink, run_sink
from stream_app.sources.delivery import Delivery, Item
from stream_app.sources.process import run_source
from tests.fake_route import CARD, PARTITIONS, labels, make_route, run
from tests.filter_answers import Answers, labelled, mail_route
from tests.labels import a_label
from tests.tiny_model import save_tiny_albert

CONFIG = """
[kafka]
bootstrap_servers = "BROKER"
[engine]
backend = "BACKEND"
[[routes]]
name = "mail"
format = "FORMAT"
model = "builtin:spam"
input_topic = "mail"
output_topic = "mail.labels"
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_albert(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with EmbeddedBroker() as embedded:
        yield embedded.address


def configuration(
    folder: Path, backend: str = "auto", form: str = "text", broker: str = "127.0.0.1:9092"
) -> Path:
    file = folder / "winnow.toml"
    text = CONFIG.replace("BACKEND", backend).replace("FORMAT", form).replace("BROKER", broker)
    file.write_text(text)
    return file


def classify(model: Path, *arguments: str, engine: str = "fake") -> Result:
    command = ["classify", "--model", str(model), "--engine", engine, *arguments]
    return CliRunner().invoke(app, command)


def backwards(value: bytes, spec: ParseSpec) -> Message:
    """A format: the text, last letter first."""
    return Message(body=value[::-1].decode())


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "backwards", Codec(backwards, (".back",)))  # the row


async def test_a_format_is_a_row_for_a_route(codec: None, tmp_path: Path) -> None:
    [route] = load_settings(configuration(tmp_path, form="backwards")).routes
    assert route.format == "backwards"
    made = make_route(AckTracker(), FakeEngine(CARD.labels), format="backwards")
    plain = make_route(AckTracker(), FakeEngine(CARD.labels))
    texts = [b"some words", b"and others\nof two lines"]
    for where, values in ((plain, texts), (made, [text[::-1] for text in texts])):
        records = [Record(PARTITIONS[0], n, None, value) for n, value in enumerate(values)]
        await run(where, records, lambda where=where: len(where.publisher.out) == 2)
    assert [x.scores for x in labels(made)] == [x.scores for x in labels(plain)]


def test_a_format_is_a_row_for_classify(codec: None, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.back").write_bytes(b"txet\ndoog")  # one message: by its suffix, and not by line
    (tmp_path / "a.txt").write_bytes(b"good text\n")
    files = [str(tmp_path / name) for name in ("a.back", "a.txt")]
    found, plain = map(json.loads, classify(model, *files).stdout.splitlines())
    assert found["source"].endswith("a.back")
    assert found["scores"] == plain["scores"]
    (tmp_path / "b").write_bytes(b"txet\ndoog")
    [line] = classify(model, "--format", "backwards", str(tmp_path / "b")).stdout.splitlines()
    assert json.loads(line)["scores"] == plain["scores"]


async def test_a_format_is_a_row_for_the_filters_http(codec: None) -> None:
    front = FailOpen(Answers(labelled()), FilterSettings(), Metrics())
    api = web.Application()
    api.router.add_routes(Api(front, None, [mail_route(format="backwards")], "").resources)
    async with TestClient(TestServer(api)) as client:
        answer = await client.post(
            "/v1/label/mail", data=b"txet", headers={"Content-Type": "application/octet-stream"}
        )
        assert answer.status == 200
        described = await (await client.get("/openapi.json")).json()
    body = described["paths"]["/v1/label/{route}"]["post"]["requestBody"]
    assert "application/octet-stream" in body["content"]


def test_a_format_is_a_row_for_produce(codec: None, broker: str, tmp_path: Path) -> None:
    (tmp_path / "a.back").write_bytes(b"txet\ndoog")
    config = with_topics(tmp_path, broker, "backwards")
    command = ["produce", "--topic", "mail", "--config", str(config), str(tmp_path / "a.back")]
    assert "1 messages sent to mail" in CliRunner().invoke(app, command).output
    assert b"txet\ndoog" in read(config, "mail")


def with_topics(folder: Path, broker: str, form: str = "text") -> Path:
    """The configuration, and the topics of its route."""
    config = configuration(folder, form=form, broker=broker)
    created = CliRunner().invoke(app, ["topics", "create", "--config", str(config)])
    assert created.exit_code == 0, created.output
    return config


def read(config: Path, topic: str) -> set[bytes | None]:
    return {record.value for record in read_topic(load_settings(config).kafka, topic)}


def test_a_source_is_a_row(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def count(delivery: Delivery, metrics: Metrics, health: Health) -> None:
        await delivery.deliver([Item(f"number {n}", str(n).encode()) for n in range(3)])

    def numbers(config: ConfigFile) -> None:
        asyncio.run(run_source("numbers", load_settings(config).kafka, "mail", "", count))

    monkeypatch.setattr(ingest, "registered_commands", list(ingest.registered_commands))
    ingest.command()(numbers)  # the row
    config = with_topics(tmp_path, broker)
    result = CliRunner().invoke(app, ["ingest", "numbers", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert {b"0", b"1", b"2"} <= read(config, "mail")


class Remembered:
    """A sink's effect, which has seen enough after its first write."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def check(self) -> None:
        pass

    def write(self, labels: Sequence[Received]) -> int:
        self.ids += [label.id for label in labels]
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    def close(self) -> None:
        pass


def test_a_sink_is_a_row(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effect = Remembered()

    def remember(config: ConfigFile) -> None:
        settings, made = load_settings(config), Sink("remember", "127.0.0.1:0", 10, effect)
        asyncio.run(run_sink(made, settings.kafka, settings.routes))

    monkeypatch.setattr(sink, "registered_commands", list(sink.registered_commands))
    sink.command()(remember)  # the row
    config = with_topics(tmp_path, broker)
    with sending(load_settings(config).kafka, "mail.labels") as labels:
        labels.send("a label", a_label(722).model_dump_json().encode())
        labels.finish()
    result = CliRunner().invoke(app, ["sink", "remember", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert effect.ids == ["mail/0/722"]


class Always(FakeEngine):
    """A backend: whatever the text, the last label."""

    def logits(self, batch: Sequence[Sequence[int]], prior: Prior = None) -> NDArray[Any]:
        found = super().logits(batch, prior)
        found[:, -1] = 9.0
        return found


def load(artifact: Artifact, device: str, precision: str, threads: int) -> Always:
    return Always(artifact.card.labels)


def test_an_engine_is_a_row(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "always", f"{__name__}:load")  # the row
    assert load_settings(configuration(tmp_path, backend="always")).engine.backend == "always"
    (tmp_path / "a.txt").write_bytes(b"a text\nthe good text\nany short text\n")
    result = classify(model, str(tmp_path / "a.txt"), engine="always")
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == ["spam"] * 3


async def test_a_metric_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    line = counter("records_loud", "Records in capitals", "route")
    monkeypatch.setattr(Metrics, "loud", line, raising=False)  # the row

    def observe(works: Sequence[Work]) -> None:
        for work in works:
            if (work.record.value or b"").isupper():
                made.metrics.loud.labels("r").inc()  # the call

    made = make_route(AckTracker(), FakeEngine(CARD.labels), [observe])
    values = [b"quiet words", b"LOUD WORDS", b"LOUDER WORDS"]
    records = [Record(PARTITIONS[0], n, None, value) for n, value in enumerate(values)]
    await run(made, records, lambda: len(made.publisher.out) == 3)
    assert b'winnow_records_loud_total{route="r"} 2.0' in generate_latest(made.metrics.registry)


@pytest.mark.parametrize("command", ["worker", "config check", "dlq list"])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"form": "xml"}, "routes[mail].format = 'xml': Input should be 'rfc822', 'json'"),
        ({"backend": "warp"}, "engine.backend = 'warp': Input should be 'auto', 'compiled'"),
    ],
)
def test_a_name_without_a_row_is_refused_at_the_start(
    tmp_path: Path, command: str, wrong: dict[str, str], says: str
) -> None:
    file = configuration(tmp_path, **wrong)
    result = CliRunner().invoke(app, [*command.split(), "--config", str(file)])
    assert isinstance(result.exception, ConfigError)
    assert says in str(result.exception)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--format", "xml", "there are: rfc822, json, feed, text"),
        ("--engine", "warp", "there are: auto, compiled, packed, reference, fake"),
        ("--device", "toaster", "--device = 'toaster'"),
    ],
)
def test_classify_refuses_what_there_is_not(
    model: Path, option: str, value: str, says: str
) -> None:
    result = CliRunner().invoke(app, ["classify", "--model", str(model), option, value])
    assert isinstance(result.exception, ConfigError)
    assert says in str(result.exception)
