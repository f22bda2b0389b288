"""What operators start from agrees with the code: docker-compose.yml and deploy/."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stream_app.__main__ import app
from stream_app.configuration import load_settings
from stream_app.core.health import Health
from stream_app.core.metrics import Metrics
from stream_app.core.settings import FilterSettings, Settings
from stream_app.web.server import WebServer

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def run(*command: str) -> None:
    """Run a checker, or skip where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return load(ROOT / "docker-compose.yml")["services"]


@pytest.fixture
def settings(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the worker of docker-compose.yml runs with."""
    for name, value in services["worker"]["environment"].items():
        monkeypatch.setenv(name, str(value))
    return load_settings(DEPLOY / "winnow.toml")


class TestCompose:
    def test_the_schema_accepts_it(self):
        run("docker-compose", "--file", "docker-compose.yml", "config", "--quiet")

    def test_what_it_mounts_and_builds_from_exists(self, services: dict[str, Any]):
        for service in services.values():
            mounts = [volume.split(":")[0] for volume in service.get("volumes", ())]
            files = [mount for mount in mounts if mount.startswith(".")]
            assert all((ROOT / file).exists() for file in files), files
            if "build" in service:
                assert (ROOT / service["build"]["dockerfile"]).is_file()
            else:
                assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), "an unpinned image"

    def test_nothing_is_published_beyond_this_machine(self, services: dict[str, Any]):
        ports = [port for service in services.values() for port in service.get("ports", ())]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    @pytest.mark.parametrize("service", ["topics", "worker"])
    def test_its_commands_exist(self, services: dict[str, Any], service: str):
        done = CliRunner().invoke(app, [*services[service]["command"], "--help"])
        assert done.exit_code == 0, done.output

    def test_the_worker_comes_to_an_advertised_listener(
        self, services: dict[str, Any], settings: Settings
    ):
        advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
        addresses = dict(listener.split("://") for listener in advertised)
        assert settings.kafka.bootstrap_servers == addresses["INTERNAL"]
        on_the_host = tomllib.loads((DEPLOY / "winnow.toml").read_text(encoding="utf-8"))
        assert on_the_host["kafka"]["bootstrap_servers"] == addresses["HOST"]

    def test_the_broker_takes_what_the_routes_take(
        self, services: dict[str, Any], settings: Settings
    ):
        broker = services["kafka"]["environment"]
        largest = max(route.max_record_bytes for route in settings.routes)
        assert broker["KAFKA_MESSAGE_MAX_BYTES"] > largest
        assert broker["KAFKA_REPLICA_FETCH_MAX_BYTES"] >= broker["KAFKA_MESSAGE_MAX_BYTES"]


class TestImage:
    def test_what_it_copies_reaches_the_builder(self):
        lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
        copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
        sources = {s for copy in copies if not copy[0].startswith("--from") for s in copy}
        ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert sources == {line[1:] for line in ignore if line.startswith("!")}
        assert all((ROOT / source).exists() for source in sources)

    @pytest.mark.parametrize(("stuck", "code"), [(False, 0), (True, 1)])
    async def test_its_health_check_believes_healthz(
        self, unused_tcp_port: int, stuck: bool, code: int
    ):
        health = Health(stuck_seconds=-1 if stuck else 60)
        health.observe("mail", lag=1, moved=False)
        server = WebServer("127.0.0.1", unused_tcp_port, Metrics().registry, health)
        await server.start()
        try:
            assert await check_health(unused_tcp_port) == code
        finally:
            await server.stop()

    async def test_its_health_check_fails_where_nobody_listens(self, unused_tcp_port: int):
        assert await check_health(unused_tcp_port) == 1


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
class TestUnits:
    def test_systemd_accepts_it(self, unit: Path, tmp_path: Path):
        copy = tmp_path / unit.name
        text = unit.read_text(encoding="utf-8")
        copy.write_text(text.replace("/opt/winnow/bin/winnow", shutil.which("true") or ""))
        run("systemd-analyze", "verify", str(copy))

    def test_its_command_exists(self, unit: Path):
        text = unit.read_text(encoding="utf-8")
        [command] = re.findall(r"^ExecStart=\S+ (.+)$", text, re.MULTILINE)
        if unit.stem.endswith("@"):  # its first line has one of its instances
            command = command.replace("%i", text.split(unit.stem)[1].split()[0])
        done = CliRunner().invoke(app, [*command.split(), "--help"])
        assert done.exit_code == 0, done.output


class TestMailServer:
    def test_postfix_waits_longer_than_the_filter_and_accepts_whatever_happens(self):
        text = (DEPLOY / "postfix" / "main.cf").read_text(encoding="utf-8")
        [seconds] = re.findall(r"content_timeout=(\d+)s", text)
        deadline = FilterSettings().deadline_seconds
        assert deadline + 0.5 <= int(seconds) < deadline + 1  # Postfix takes some time of its own
        assert "default_action=accept" in text


class TestPrometheus:
    def test_promtool_accepts_the_configuration(self):
        run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))

    def test_the_alerts_fire_when_they_should(self):
        run("promtool", "test", "rules", str(PROMETHEUS / "alerts.test.yml"))

    def test_it_scrapes_the_workers(self, services: dict[str, Any], settings: Settings):
        (job,) = load(PROMETHEUS / "prometheus.yml")["scrape_configs"]
        (discovery,) = job["dns_sd_configs"]
        assert set(discovery["names"]) <= set(services)
        assert discovery["port"] == settings.metrics.port
        assert settings.metrics.host == "0.0.0.0"


async def check_health(port: int) -> int:
    """Exit code of the image's health check."""
    environment = os.environ | {"WINNOW_METRICS__PORT": str(port)}
    script = str(DEPLOY / "healthcheck.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, env=environment)
    return await process.wait()
