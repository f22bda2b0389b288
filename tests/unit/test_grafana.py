"""The dashboards: what is committed is what the code makes, of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.__main__ import BOARDS, written
from stream_app.core.metrics import Metrics
from tests.dashboards import FILES, panels, queries

NOT_OURS = {"up", "ALERTS"}
PARTS = ("_bucket", "_sum", "_count")  # of a histogram


def test_what_is_committed_is_what_the_code_makes():
    made = dict(written(board()) for board in BOARDS)
    assert {file.name: file.read_text(encoding="utf-8") for file in FILES} == made, (
        "run: python -m deploy.grafana"
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
class TestPanels:
    def test_each_says_what_it_shows_in_which_unit(self, file: Path):
        for panel in panels(file):
            assert len(panel["description"]) > 10, panel["title"]
            unit = panel["fieldConfig"]["defaults"].get("unit")
            assert unit or panel["type"] == "table", panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"

    def test_none_lies_on_another(self, file: Path):
        taken: set[tuple[int, int]] = set()
        for panel in panels(file):
            at = panel["gridPos"]
            fields = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not fields & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= fields

    def test_jobs_and_routes_can_be_chosen(self, file: Path):
        board: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        names = [variable["name"] for variable in board["templating"]["list"]]
        assert names[:3] == ["datasource", "job", "route"]


def test_the_metrics_exist():
    families = Metrics().registry.collect()
    known = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    known |= {f"{name}{part}" for name in known for part in PARTS}
    used = {name for _, query in queries(60) for name in re.findall(r"(\w+)\{", query)}
    assert used - NOT_OURS <= known
    assert len(used) > 40


def test_prometheus_understands_each_query(tmp_path: Path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = [
        {"record": f"q{number}", "expr": query} for number, (_, query) in enumerate(queries(60))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
