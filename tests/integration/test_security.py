"""TLS, SASL and mutual TLS against Apache Kafka; refusals have a sentence; secrets stay secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app, main
from stream_app.core.errors import AccessError
from tests.command_line import run_main
from tests.conftest import free_port
from tests.integration.harness import Stage, distinct
from tests.integration.process import get, wait_until_ready
from tests.secured_kafka import (
    KEY_PASSWORD,
    PLAIN_PASSWORD,
    SCRAM_PASSWORD,
    Secured,
    secured_kafka,
)
from training.__main__ import app as trainer

SECRETS = (PLAIN_PASSWORD, SCRAM_PASSWORD, KEY_PASSWORD)
WAYS = ["plain", "plain_tls", "scram_256", "scram_512_tls", "mutual_tls"]
COMMANDS = [
    ("topics", "create"),
    ("produce", "--topic", "TOPIC", __file__),
    ("watch", "--count", "1"),
    ("dlq", "list"),
    ("dlq", "show", "a/0/1"),
    ("dlq", "replay"),
]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_kafka(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def way_in(secured: Secured, way: str) -> dict[str, Any]:
    """`[kafka]` of one way to connect."""
    ways = {
        "plain": (secured.sasl, secured.sasl_over("SASL_PLAINTEXT")),
        "plain_tls": (secured.sasl_tls, secured.sasl_over("SASL_SSL")),
        "scram_256": (secured.sasl, secured.sasl_over("SASL_PLAINTEXT", "SCRAM-SHA-256")),
        "scram_512_tls": (secured.sasl_tls, secured.sasl_over("SASL_SSL", "SCRAM-SHA-512")),
        "mutual_tls": (secured.mutual_tls, secured.mutual()),
    }
    servers, access = ways[way]
    return {"bootstrap_servers": servers, **access}


def refused(secured: Secured, name: str) -> tuple[dict[str, Any], str]:
    """`[kafka]` that the broker or we refuse, and what must be said."""
    wrong = secured.folder / "wrong.password"
    wrong.write_text("not-the-password")
    scram = way_in(secured, "scram_512_tls")
    mutual = way_in(secured, "mutual_tls")
    elsewhere = secured.sasl_tls.replace("localhost", "127.0.0.1")
    no_certificate = {"bootstrap_servers": secured.mutual_tls, **secured.tls()}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "scram_password": (scram | {"sasl_password_file": str(wrong)}, "wrong name or password"),
        "plain_password": (
            way_in(secured, "plain") | {"sasl_password_file": str(wrong)},
            "refuses user 'winnow' by PLAIN: wrong name or password",
        ),
        "user": (scram | {"sasl_username": "nobody"}, "refuses user 'nobody' by SCRAM-SHA-512"),
        "authority": (
            mutual | secured.tls("nobody.pem"),
            "signed by no CA in",
        ),
        "host_name": (scram | {"bootstrap_servers": elsewhere}, "is for another host name"),
        "no_certificate": (no_certificate, "it wants a client certificate"),
        "no_tls": ({"bootstrap_servers": secured.mutual_tls}, "it speaks TLS, and"),
    }
    return cases[name]


REFUSALS = [
    "scram_password",
    "plain_password",
    "user",
    "authority",
    "host_name",
    "no_certificate",
    "no_tls",
]


@pytest.fixture
def stage(secured: Secured, tmp_path: Path, tiny_model: Path) -> Stage:
    """One route, whose topics are there; the test itself comes in by the open listener."""
    stage = Stage(secured.open, tmp_path)
    stage.route("text", "text", str(tiny_model))
    stage.sections["kafka"] = {"bootstrap_servers": secured.open}
    return stage


def winnow(stage: Stage, *arguments: str) -> str:
    """Run a command with the stage's configuration; what it printed."""
    done = CliRunner().invoke(app, [*arguments, "--config", str(stage.config)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.mark.parametrize("way", WAYS)
def test_worker_and_every_command_get_in(secured: Secured, stage: Stage, way: str):
    stage.sections["kafka"] = way_in(secured, way)
    topic = stage.routes[0]["input_topic"]
    texts = stage.folder / "texts.txt"
    texts.write_text("a good text\n" * 20)
    said = winnow(stage, "topics", "create")
    assert all(f"created  {name}\n" in said for name in (topic, f"{topic}.labels", f"{topic}.dlq"))
    with stage.worker() as worker:
        said += winnow(stage, "produce", "--topic", topic, str(texts))
        with stage.producer() as producer:
            producer.send(topic, b"\0\1binary")
        found = stage.collect(topic, distinct(21))
        assert found.errors == {"not_text": 1}
        said += winnow(stage, "watch", "--from-beginning", "--count", "5")
        listed = winnow(stage, "dlq", "list")
        said += listed + winnow(stage, "dlq", "show", listed.split()[0])
        assert worker.stop() == 0  # it would kill what is sent back while the replay still reads
    said += winnow(stage, "dlq", "replay")
    assert "1 sent back" in said
    with stage.worker() as again:
        stage.collect(topic, lambda found: len(found.dead) == 2)
        assert again.stop() == 0
    assert not leaked(said + worker.output + again.output)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_said_by_every_command(secured: Secured, stage: Stage, name: str):
    stage.sections["kafka"], reason = refused(secured, name)
    for command in COMMANDS:
        arguments = [stage.name if word == "TOPIC" else word for word in command]
        done = CliRunner().invoke(app, [*arguments, "--config", str(stage.config)])
        assert isinstance(done.exception, AccessError), (command, done.exception)
        assert reason in str(done.exception)
        assert not leaked(str(done.exception) + done.output)


def test_a_refusal_is_said_by_the_trainer(secured: Secured, stage: Stage, tmp_path: Path):
    stage.sections["kafka"], reason = refused(secured, "scram_password")
    command = ["feedback", "pull", "--route", "text", "--out", str(tmp_path / "set")]
    done = CliRunner().invoke(trainer, [*command, "--config", str(stage.config)])
    assert isinstance(done.exception, AccessError), done.exception
    assert reason in str(done.exception)
    assert not leaked(str(done.exception) + done.output)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_ends_the_worker(secured: Secured, stage: Stage, name: str):
    """Wrong credentials are no outage: waiting would hide them."""
    stage.sections["kafka"], reason = refused(secured, name)
    command = [sys.executable, "-m", "stream_app", "worker", "--config", str(stage.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("winnow: the broker at")
    assert reason in last
    assert "waiting for a broker" not in done.stderr
    assert not leaked(done.stdout + done.stderr)


def test_a_listener_that_hangs_up_is_waited_for_with_a_hint(secured: Secured, stage: Stage):
    """SASL asked for by a listener looks like a broker that goes down: it may be either."""
    stage.sections["kafka"] = {"bootstrap_servers": secured.sasl}
    with stage.worker() as worker:
        worker.wait_for_log("closes the connection: is kafka.security_protocol, PLAINTEXT")
        assert worker.stop() == 0


def test_nothing_printed_or_served_holds_a_secret(secured: Secured, stage: Stage):
    """Secrets from the environment; the log at its most talkative."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stage.sections["metrics"] = {"port": port}
    stage.sections["kafka"] = way_in(secured, "scram_512_tls") | secured.mutual()
    stage.sections["kafka"]["security_protocol"] = "SASL_SSL"
    for key in ("sasl_password_file", "ssl_key_password_file"):
        del stage.sections["kafka"][key]
    environment = {
        "WINNOW_KAFKA__SASL_PASSWORD": SCRAM_PASSWORD,
        "WINNOW_KAFKA__SSL_KEY_PASSWORD": KEY_PASSWORD,
    }
    runner = CliRunner(env=environment)
    config = ["--config", str(stage.config)]
    printed = [runner.invoke(app, ["topics", "create", *config]).output]
    shown = runner.invoke(app, ["config", "show", *config]).output
    assert 'sasl_password = "**********"' in shown
    printed += [shown, runner.invoke(app, ["config", "check", *config]).output]
    log = (stage.folder / "debug.log").open("w+b")
    command = [sys.executable, "-m", "stream_app", "worker", *config, "--log-level", "debug"]
    with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment) as worker:
        try:
            wait_until_ready(url)
            printed += [get(f"{url}/{page}")[1] for page in ("metrics", "healthz", "readyz")]
        finally:
            worker.terminate()
    log.seek(0)
    printed.append(log.read().decode())
    assert "consuming" in printed[-1]
    assert "winnow_model_info" in "".join(printed)
    assert not leaked("".join(printed))


@pytest.mark.parametrize(
    "lines",
    [
        f'sasl_pasword = "{SCRAM_PASSWORD}"',
        f'sasl_password = ["{SCRAM_PASSWORD}"]',
        f'sasl_password = "{SCRAM_PASSWORD}"',  # without SASL
        f'security_protocol = "SASL_SSL"\nsasl_username = "u"\nsasl_password = "{SCRAM_PASSWORD}"\n'
        f'sasl_password_file = "f"',
        f'sasl_password = "{SCRAM_PASSWORD}',
        f'ssl_key_password = "{SCRAM_PASSWORD}"\nssl_certificate_file = 1',
    ],
)
def test_a_wrong_configuration_is_explained_without_its_secrets(tmp_path: Path, lines: str):
    config = tmp_path / "winnow.toml"
    config.write_text(f"[kafka]\n{lines}\n")
    for command in (["config", "check"], ["worker"], ["watch", "--topic", "t"]):
        done = run_main(main, *command, "--config", str(config))
        assert done.returncode == 2, done.stderr
        assert "kafka" in done.stderr or "TOML" in done.stderr
        assert not leaked(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "value", ['{"sasl_password": "' + SCRAM_PASSWORD, f'{{"x": "{SCRAM_PASSWORD}"}}']
)
def test_a_wrong_variable_is_explained_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
):
    monkeypatch.setenv("WINNOW_KAFKA", value)
    done = run_main(main, "watch", "--topic", "t")
    assert done.returncode == 2
    assert not leaked(done.stdout + done.stderr)


def leaked(text: str) -> Sequence[str]:
    """The secrets in a text."""
    return [secret for secret in SECRETS if secret in text]


def test_metrics_are_served_on_loopback_unless_told_otherwise(stage: Stage):
    """127.0.0.2 is this machine too: only what listens on every address answers there."""
    stage.create_topics()
    for section, answers in (({}, False), ({"host": "0.0.0.0"}, True)):
        port = free_port()
        stage.sections["metrics"] = {"port": port, **section}
        with stage.worker():
            wait_until_ready(f"http://127.0.0.1:{port}")
            status, _ = get(f"http://127.0.0.2:{port}/metrics")
            assert (status == 200) is answers
