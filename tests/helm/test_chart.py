"""The chart itself: helm takes it, refuses wrong values by name, and its page has every value."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.helm.config_schema import with_config
from stream_app import __version__
from tests.helm.conftest import CHART, ROOT, VALUES, Helm


@pytest.mark.parametrize("values", VALUES)
def test_helm_has_nothing_to_complain_about(helm: Helm, values: str):
    done = helm.run("lint", "--strict", CHART, "--values", VALUES[values])
    assert done.returncode == 0, done.stdout


def test_a_package_has_the_alerts_themselves(helm: Helm, tmp_path: Path):
    assert helm.run("package", CHART, "--destination", tmp_path).returncode == 0
    [package] = tmp_path.glob("winnow-*.tgz")
    with tarfile.open(package) as files:
        alerts = files.extractfile("winnow/alerts.yml")
        assert alerts is not None
        assert alerts.read() == (ROOT / "deploy" / "prometheus" / "alerts.yml").read_bytes()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('config.kafka.bootstap_servers="kafka:9092"', "'bootstap_servers' not allowed"),
        ('config.kafka.sasl_password="secret"', "'sasl_password' not allowed"),
        ('config.routes[0].format="eml"', "must be one of 'rfc822', 'json', 'feed', 'text'"),
        ("config.routes=[]", "minItems: got 0, want 1"),
        ('config.topics.partitions="four"', "got string, want integer"),
        ("config.metrics.port=0", "minimum: got 0, want 1"),
        ("worker.replicaCount=2", "'replicaCount' not allowed"),
        ("worker.replicas=0", "minimum: got 0, want 1"),
        ("worker.autoscaling.minReplicas=0", "minimum: got 0, want 1"),
        ('processes.filters={"enabled": true}', "'filters' not allowed"),
        ("processes.ingest-feeds.replicas=2", "'replicas' not allowed"),
        ('refresh.schedule="daily"', "does not match pattern"),
        ('worker.autoscaling={"enabled": true, "maxReplicas": 9}', "more workers would stand by"),
        ("processes.dashboard.enabled=true", "give config.dashboard.token_file"),
        ('config.routes[0].model="models:/mail@champion"', "give config.registry.uri"),
        ('refresh.routes=["mail"]', "give config.registry.uri"),
        ('config.routes[0].name="so-long-that-no-cron-job-has-room-for-it"', None),
    ],
)
def test_wrong_values_are_refused_with_a_word_that_helps(
    helm: Helm, setting: str, said: str | None
):
    done = helm.template(VALUES["minimal"], setting)
    if said is None:  # only where a name is made of it
        assert done.returncode == 0, done.stderr
        done = helm.template(VALUES["minimal"], setting, "worker.perRoute=true")
        said = "has more than 52 characters"
    assert done.returncode != 0
    assert said in done.stderr


def test_values_that_do_not_go_together_are_refused(helm: Helm):
    apart = helm.template(
        VALUES["autoscaled"],
        "processes.dashboard.enabled=true",
        'config.dashboard.token_file="/run/secrets/dashboard/token"',
    )
    assert "give the dashboard to a release without worker.perRoute" in apart.stderr
    elsewhere = helm.template(
        VALUES["autoscaled"],
        'config.kafka.security_protocol="SSL"',
        'config.kafka.ssl_ca_file="/etc/ca.pem"',
    )
    assert "KEDA needs it from a Secret" in elsewhere.stderr
    registry = 'config.registry.uri="http://mlflow:5000"'
    untrained = helm.template(VALUES["minimal"], registry, 'refresh.routes=["mail"]')
    assert "needs refresh.image.repository" in untrained.stderr
    unknown = helm.template(VALUES["mail"], 'refresh.routes=["news"]')
    assert "there is no route news in config.routes; there are: mail" in unknown.stderr


def test_the_schema_knows_every_setting_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert with_config(schema) == schema, "run: python deploy/helm/config_schema.py"


def test_it_installs_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__


def test_its_page_has_every_value_with_its_default():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    page = (CHART / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| `(.*?)` \|", page, re.MULTILINE))
    assert rows == {name: json.dumps(value) for name, value in leaves(values)}


def leaves(values: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Values by their names; docs/operations.md has those of `config`."""
    found = []
    for key, value in values.items():
        if key == "config":
            continue
        if isinstance(value, dict) and value and not FLAT.fullmatch(f"{path}{key}"):
            found += leaves(value, f"{path}{key}.")
        else:
            found.append((f"{path}{key}", value))
    return found


FLAT = re.compile(r".*resources|.*strategy|.*storage|processes\..+")  # a row each
