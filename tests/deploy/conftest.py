"""The whole deployment, running, in a network of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import skip_without_kafka, wait_for_broker
from tests.deploy.sandbox import REGISTRY, Deployment, deployment
from tests.deploy.webhook import Webhook, webhook

PROFILES = "cpu,dashboard,filter,feeds,postgres,trainer"
PROGRAMS = ("bwrap", "docker-compose", "prometheus", "prometheus-alertmanager", "wget")
AFTER_TOPICS = ("postgres", "registry", "worker", "dashboard", "filter", "feeds", "sink")
WATCHERS = ("prometheus", "alertmanager")


@pytest.fixture(scope="session")
def alerts() -> Iterator[Webhook]:
    """Where the deployment's alerts are sent."""
    _skip_where_it_cannot_run()
    with webhook() as listening:
        yield listening


@pytest.fixture(scope="session")
def deployed(alerts: Webhook) -> Iterator[Deployment]:
    """Everything of docker-compose.yml but Grafana, up and healthy."""
    with TemporaryDirectory(prefix="winnow-deploy-") as folder, deployment(Path(folder)) as made:
        made.settings["COMPOSE_PROFILES"] = PROFILES
        secrets = ["deploy/secrets.sh", alerts.url]
        subprocess.run(secrets, cwd=made.folder, check=True)
        wait_for_broker("127.0.0.1:9092", made.up("kafka"))
        done = made.run("topics", *made.file()["services"]["topics"]["command"])
        assert done.returncode == 0, done.stderr
        for name in (*AFTER_TOPICS, *WATCHERS):
            made.up(name)
        for name in (*AFTER_TOPICS, *WATCHERS):
            made.until_healthy(name)
        yield made


def _skip_where_it_cannot_run() -> None:
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        pytest.skip("wants a network of its own: make test-deploy")
    skip_without_kafka()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed, see apt-packages.txt")
    if not (REGISTRY / "mlflow").exists():
        pytest.skip("MLflow's server is not installed: make test-deploy")
