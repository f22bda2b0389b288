"""What the rendered pods run exists, and reads the configuration that is rendered for it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.configuration import load_settings
from stream_app.core.settings import Settings
from stream_app.web.access import address
from tests.helm.conftest import EVERYTHING, VALUES, Document, Helm, pods
from training.__main__ import app as train

PROGRAMS = {
    "winnow": typer.main.get_command(app),
    "winnow-train": typer.main.get_command(train),
}


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command line, understood as the program does; raises what it would say."""
    program, *rest = words
    command: Any = PROGRAMS[program]
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    options: dict[str, Any] = command.make_context(command.name, rest).params
    return options


def configuration(documents: Sequence[Document], pod: Document) -> str:
    """The text of the file that a pod reads."""
    [volume] = [each["configMap"] for each in pod["volumes"] if "configMap" in each]
    [found] = [
        d for d in documents if (d["kind"], d["metadata"]["name"]) == ("ConfigMap", volume["name"])
    ]
    [item] = volume["items"]
    text: str = found["data"][item["key"]]
    return text


def load(text: str, pod: Document, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a pod, from its file and its variables."""
    file = folder / "winnow.toml"
    file.write_text(text, encoding="utf-8")
    with monkeypatch.context() as environment:
        for variable in pod["containers"][0].get("env", ()):
            environment.setenv(variable["name"], variable["value"])
        return load_settings(file)


def test_every_command_and_option_exists(
    documents: Sequence[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "winnow.toml"
    file.touch()
    monkeypatch.setenv("WINNOW_CONFIG", str(file))  # as the image does
    for pod in pods(documents).values():
        [container] = pod["containers"]
        command = container.get("command", ["winnow"])  # as the image's entry point
        assert parse([*command, *container["args"]])["config"] == file


def test_an_option_that_does_not_exist_would_be_noticed():
    with pytest.raises(Exception, match="No such option: --proceses"):
        parse(["winnow", "worker", "--config", "winnow.toml", "--proceses", "2"])


def test_every_configuration_is_one(
    documents: Sequence[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for pod in pods(documents).values():
        settings = load(configuration(documents, pod), pod, tmp_path, monkeypatch)
        assert settings.metrics.host == "0.0.0.0"


def test_a_route_apart_has_a_file_and_a_group_of_its_own(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    documents = helm.documents(VALUES["autoscaled"])
    for name, pod in pods(documents).items():
        if "worker" in name:
            settings = load(configuration(documents, pod), pod, tmp_path, monkeypatch)
            [route] = settings.routes
            assert name == f"labels-worker-{route.name}"
            assert settings.kafka.group_id == f"winnow-{route.name}"


def test_every_secret_that_a_process_reads_is_mounted(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    documents = helm.documents(EVERYTHING)
    for name, pod in pods(documents).items():
        text = configuration(documents, pod)
        own = SECTIONS.get(name.removeprefix("labels-"), "kafka")
        for section in {"kafka", own}:
            for key, value in tomllib.loads(text)[section].items():
                if str(value).startswith("/run/secrets/"):
                    folders = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]]
                    assert str(Path(value).parent) in folders, f"{name}: {section}.{key}"


SECTIONS = {
    **{name: name for name in ("dashboard", "filter")},
    **{f"sink-{name}": name for name in ("postgres", "webhook", "imap")},
    "sink-feed": "feed_sink",
    **{f"ingest-{name}": name for name in ("feeds", "imap")},
}


def test_a_process_listens_where_its_pod_says(
    helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    documents = helm.documents(EVERYTHING)
    found = pods(documents)
    settings = load(
        configuration(documents, found["labels-worker"]),
        found["labels-worker"],
        tmp_path,
        monkeypatch,
    )
    listening = {
        "worker": (settings.metrics.host, settings.metrics.port),
        "dashboard": address(settings.dashboard.listen),
        "filter": address(settings.filter.http),
        "sink-postgres": address(settings.postgres.http),
        "sink-webhook": address(settings.webhook.http),
        "sink-feed": address(settings.feed_sink.http),
        "sink-imap": address(settings.imap.sink_http),
        "ingest-feeds": address(settings.feeds.http),
        "ingest-imap": address(settings.imap.http),
    }
    for part, (host, number) in listening.items():
        ports = found[f"labels-{part}"]["containers"][0]["ports"]
        assert {"name": "http", "containerPort": number} in ports
        assert host == "0.0.0.0"
    milter = {"name": "milter", "containerPort": int(settings.filter.listen.rpartition(":")[2])}
    assert milter in found["labels-filter"]["containers"][0]["ports"]


def test_the_dashboard_finds_a_worker(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    documents = helm.documents(EVERYTHING)
    pod = pods(documents)["labels-dashboard"]
    settings = load(configuration(documents, pod), pod, tmp_path, monkeypatch)
    services = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Service"}
    [worker] = settings.dashboard.workers
    name, port = worker.split(":")
    assert [each["port"] for each in services[name]["ports"]] == [int(port)]


def test_a_rendered_configuration_passes_its_own_check(helm: Helm, tmp_path: Path):
    documents = helm.documents(VALUES["minimal"])
    file = tmp_path / "winnow.toml"
    file.write_text(configuration(documents, pods(documents)["labels-worker"]), encoding="utf-8")
    done = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert done.exit_code == 0, done.output
