"""The benchmark of the engines runs, and everyone in it answers like transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from stream_app.engine.native_library import PRECISIONS, find_kernels
from stream_app.engine.packed_cpu import has_bfloat16

ROOT = Path(__file__).parent.parent.parent


def test_a_smoke_run_has_a_row_for_each_engine(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "bench/engine.py", "--shape", "builtin", "--smoke"]
    subprocess.run([*command, "--json", str(report)], cwd=ROOT, check=True, timeout=240)
    found = json.loads(report.read_text())
    kernels = find_kernels()
    compiled = {("compiled", p) for p in PRECISIONS if kernels and kernels[0].kernel(p)}
    packed = {("packed", "float32")} | ({("packed", "bfloat16")} if has_bfloat16() else set())
    rows = {(row["name"], row["precision"]): row for row in found["rows"]}
    assert rows.keys() == {("transformers", "float32")} | packed | compiled
    assert found["left_out"] == []
    for row in rows.values():
        assert row["messages_per_second"] > 0
        assert row["agreement"] >= 0.95
