"""The chart, rendered by a real helm: $HELM, or one on the PATH. `make test-helm` fetches one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "winnow"
EXAMPLES = CHART.parent / "examples"
EVERYTHING = Path(__file__).with_name("everything.yaml")
VALUES = {
    file.stem: file
    for file in (*sorted(EXAMPLES.glob("*.yaml")), EVERYTHING)
    if file.stem != "strimzi-kafka"  # a Kafka, no values
}

Document = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """The program, and what it made of values so far."""

    program: str
    _made: dict[Path, list[Document]] = field(default_factory=dict)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """One command, to its end, whatever that is."""
        return subprocess.run(
            [self.program, *map(str, command)], capture_output=True, text=True, timeout=120
        )

    def template(self, values: Path, *settings: str) -> subprocess.CompletedProcess[str]:
        """A release named `labels`; `settings` are of the form KEY=VALUE, the value JSON."""
        given = [word for each in settings for word in ("--set-json", each)]
        return self.run("template", "labels", CHART, "--values", values, *given)

    def documents(self, values: Path) -> Sequence[Document]:
        """What a release with these values is made of."""
        if values not in self._made:
            done = self.template(values)
            assert done.returncode == 0, done.stderr
            found = yaml.safe_load_all(done.stdout)
            self._made[values] = [document for document in found if document]
        return self._made[values]


@pytest.fixture(scope="session")
def helm() -> Helm:
    program = os.environ.get("HELM") or shutil.which("helm")
    if program is None:
        pytest.skip("no helm here: `make test-helm` fetches one")
    return Helm(program)


@pytest.fixture(params=VALUES)
def documents(helm: Helm, request: pytest.FixtureRequest) -> Sequence[Document]:
    """The objects of a release, for each file of values."""
    return helm.documents(VALUES[request.param])


@pytest.fixture
def everything(helm: Helm) -> Callable[[str], list[Document]]:
    """The objects of a kind, where every part of the chart is enabled."""
    return lambda kind: [each for each in helm.documents(EVERYTHING) if each["kind"] == kind]


def pods(documents: Sequence[Document]) -> dict[str, Document]:
    """The specification of each pod, by the name of what makes it."""
    found = {}
    for document in documents:
        spec = document.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            found[document["metadata"]["name"]] = template["spec"]
    return found
