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
from training.__main__ import app as train

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
SYSTEMD = DEPLOY / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def run(*command: str) -> None:
    """Run a checker, or skip where it is not installed."""
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load(ROOT / "docker-compose.yml")


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


@pytest.fixture(scope="module")
def ours(services: dict[str, Any]) -> dict[str, Any]:
    """The services that run `winnow` or `winnow-train`."""
    images = ("winnow-stream:local", "winnow-trainer:local")
    return {name: each for name, each in services.items() if each["image"] in images}


def settings_of(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a service runs with. Wrong variables raise."""
    with monkeypatch.context() as patched:
        for name, value in service["environment"].items():
            patched.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)))
        return load_settings(DEPLOY / "winnow.toml")


class TestCompose:
    def test_the_schema_and_an_old_compose_accept_it(self):
        run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
        run("docker-compose", "--file", "docker-compose.yml", "config", "--quiet")

    def test_what_it_mounts_and_builds_from_exists(self, services: dict[str, Any]):
        for service in services.values():
            mounts = [volume.split(":")[0] for volume in service.get("volumes", ())]
            files = [mount for mount in mounts if mount.startswith(".")]
            assert all((ROOT / file).exists() for file in files), files
            if "build" in service:
                build = service["build"]
                assert (ROOT / build["context"] / build.get("dockerfile", "Dockerfile")).is_file()
            else:
                assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"]), "an unpinned image"

    def test_every_secret_is_made(self, compose: dict[str, Any], tmp_path: Path):
        script = shutil.copy(DEPLOY / "secrets.sh", tmp_path)
        without = subprocess.run([script], capture_output=True, text=True, check=False)
        assert (without.returncode, without.stderr.split(":")[0]) == (2, "usage")
        subprocess.run([script, "https://example.org/hook"], check=True)
        made = {file: file.read_text() for file in (tmp_path / "secrets").iterdir()}
        named = {Path(secret["file"]).name for secret in compose["secrets"].values()}
        assert {file.name for file in made} == named
        assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
        subprocess.run([script, "https://example.org/another"], check=True)
        assert {file: file.read_text() for file in made} == made, "a second time changes nothing"

    def test_secrets_are_files_and_never_variables(self, services: dict[str, Any]):
        given = [
            each for service in services.values() for each in service.get("environment", {}).items()
        ]
        secret = re.compile("PASSWORD|TOKEN|SECRET|AUTH")
        values = {str(value) for name, value in given if secret.search(name)}
        assert values
        assert all(value.startswith("/run/secrets/") for value in values), values

    def test_every_service_is_confined_bounded_and_comes_back(self, services: dict[str, Any]):
        for name, service in services.items():
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert {"mem_limit", "pids_limit", "logging"} <= service.keys(), name
            assert service["restart"] == ("no" if name == "topics" else "unless-stopped"), name

    def test_nothing_is_published_beyond_this_machine(self, services: dict[str, Any]):
        ports = [port for service in services.values() for port in service.get("ports", ())]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_its_commands_exist(self, ours: dict[str, Any]):
        programs = {"winnow": app, "winnow-train": train}
        for name, service in ours.items():
            [program] = service.get("entrypoint", ["winnow"])
            done = CliRunner().invoke(programs[program], [*service["command"], "--help"])
            assert done.exit_code == 0, f"{name}: {done.output}"

    def test_its_health_checks_ask_where_the_service_answers(
        self, ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        answers = {
            "dashboard": lambda settings: settings.dashboard.listen,
            "filter": lambda settings: settings.filter.http,
            "feeds": lambda settings: settings.feeds.http,
            "sink": lambda settings: settings.postgres.http,
        }
        for name, where in answers.items():
            host, port = where(settings_of(ours[name], monkeypatch)).split(":")
            assert host == "0.0.0.0"
            assert ours[name]["healthcheck"]["test"][-1] == port

    def test_its_services_agree_with_the_broker(
        self, services: dict[str, Any], ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        broker = services["kafka"]["environment"]
        advertised = broker["KAFKA_ADVERTISED_LISTENERS"].split(",")
        addresses = dict(listener.split("://") for listener in advertised)
        on_the_host = tomllib.loads((DEPLOY / "winnow.toml").read_text(encoding="utf-8"))
        assert on_the_host["kafka"]["bootstrap_servers"] == addresses["HOST"]
        for service in ours.values():
            settings = settings_of(service, monkeypatch)
            assert settings.kafka.bootstrap_servers == addresses["INTERNAL"]
            largest = max(route.max_record_bytes for route in settings.routes)
            assert broker["KAFKA_MESSAGE_MAX_BYTES"] > largest
        assert broker["KAFKA_REPLICA_FETCH_MAX_BYTES"] >= broker["KAFKA_MESSAGE_MAX_BYTES"]

    def test_the_profiles_of_env_are_there(self, services: dict[str, Any]):
        [line] = re.findall("^COMPOSE_PROFILES=(.*)$", (ROOT / ".env").read_text(), re.MULTILINE)
        profiles = {each for service in services.values() for each in service.get("profiles", ())}
        assert set(line.split(",")) <= profiles


class TestImage:
    @pytest.mark.parametrize("file", ["Dockerfile", "mlflow/Dockerfile"])
    def test_hadolint_accepts_it(self, file: str):
        run("hadolint", str(DEPLOY / file))

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


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a machine whose operator has copied the units, and their hardening."""
    root = tmp_path_factory.mktemp("root")
    units = root / "etc/systemd/system"
    shutil.copytree(SYSTEMD, units)
    for unit in units.glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        unit.write_text(text.replace("/opt/winnow/bin/winnow", shutil.which("true") or ""))
    return root


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
class TestUnits:
    def test_systemd_accepts_it(self, unit: Path, machine: Path):
        run("systemd-analyze", "verify", str(machine / "etc/systemd/system" / unit.name))

    def test_it_may_do_little(self, unit: Path, machine: Path):
        """Exposure of at most 1.6 of 10, by systemd's own weights."""
        name = unit.name.replace("@", "@sink")
        given = ("--offline=true", f"--root={machine}", "--threshold=16")
        run("systemd-analyze", "security", *given, name)

    def test_it_is_not_root_where_the_hardening_was_not_copied(self, unit: Path):
        assert "\nUser=winnow\nGroup=winnow\n" in unit.read_text(encoding="utf-8")

    def test_a_folder_that_it_makes_itself_may_be_missing_at_its_first_start(self, unit: Path):
        """Without the `-` systemd sets up no namespace, and so runs not even what makes it."""
        written = re.findall(
            r"^ReadWritePaths=(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert all(path.startswith("-") for line in written for path in line.split())

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

    def test_either_dovecot_is_given_the_same_scripts(self):
        given = {
            version.name: {
                file.name: set(re.findall(r"/etc/dovecot/sieve/\S+", file.read_text()))
                for file in version.glob("*.conf")
            }
            for version in (DEPLOY / "dovecot").glob("2.*")
        }
        assert given.keys() == {"2.3", "2.4"}
        assert given["2.3"] == given["2.4"]
        named = set().union(*given["2.4"].values())
        assert {Path(script).name for script in named} == {
            file.name for file in (DEPLOY / "dovecot").glob("*.sieve")
        }


class TestPrometheus:
    def test_promtool_accepts_the_configuration(self):
        run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))

    def test_the_alerts_fire_when_they_should(self):
        run("promtool", "test", "rules", str(PROMETHEUS / "alerts.test.yml"))

    def test_it_scrapes_where_services_answer(
        self, ours: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        jobs = load(PROMETHEUS / "prometheus.yml")["scrape_configs"]
        asked = [found for job in jobs for found in job.get("dns_sd_configs", ())]
        ports = {found["names"][0]: found["port"] for found in asked}
        metrics = settings_of(ours["worker"], monkeypatch).metrics
        assert metrics.host == "0.0.0.0"
        assert ports.pop("worker") == metrics.port
        checked = {name: int(ours[name]["healthcheck"]["test"][-1]) for name in ports}
        assert ports == checked

    def test_alertmanager_accepts_its_configuration(self):
        run("amtool", "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml"))

    def test_what_alertmanager_names_is_an_alert(self):
        [group] = load(PROMETHEUS / "alerts.yml")["groups"]
        alerts = {rule["alert"] for rule in group["rules"]}
        text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
        assert set(re.findall(r"Winnow[A-Z]\w+", text)) <= alerts


async def check_health(port: int) -> int:
    """Exit code of the image's health check."""
    environment = os.environ | {"WINNOW_METRICS__PORT": str(port)}
    script = str(DEPLOY / "healthcheck.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, env=environment)
    return await process.wait()
