"""Debian's Prometheus on processes of ours, for a test that asks it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, free_port
from tests.integration.process import PATIENCE, get

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    url: str
    started: float

    def shown(self, query: str) -> int:
        """How many series have had a number since the start, as a panel would show them."""
        end = time.time()  # and steps that meet it
        given = {"query": query, "start": end - int(end - self.started), "end": end, "step": 1}
        found = self._ask(f"query_range?{urllib.parse.urlencode(given)}")
        numbers = [[float(value) for _, value in series["values"]] for series in found]
        return sum(any(map(math.isfinite, values)) for values in numbers)

    def wait_for(self, query: str) -> None:
        """Return once a query has a result."""
        deadline = time.monotonic() + PATIENCE
        while not self._ask(f"query?{urllib.parse.urlencode({'query': query})}"):
            assert time.monotonic() < deadline, query
            time.sleep(0.2)  # HTTP offers no event to await

    def _ask(self, what: str) -> list[dict[str, Any]]:
        status, text = get(f"{self.url}/api/v1/{what}")
        assert status == 200, text
        return json.loads(text)["data"]["result"]


@contextmanager
def prometheus(folder: Path, jobs: Mapping[str, str]) -> Iterator[Prometheus]:
    """One that scrapes an address a job each second, with our alerts, for the length of a block."""
    if shutil.which("prometheus") is None:
        pytest.skip("no Prometheus here (apt-packages.txt)")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port, log = free_port(), (folder / "prometheus.log").open("wb")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        running = Prometheus(f"http://127.0.0.1:{port}", time.time())
        deadline = time.monotonic() + PATIENCE
        while get(f"{running.url}/-/ready")[0] != 200:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)  # HTTP offers no event to await
        yield running
    finally:
        process.terminate()
        process.wait(60)
