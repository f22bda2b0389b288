"""What `bench/first_gpu.sh` runs, tried out on a CPU: each table has its rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stream_app.model.references import BUILTIN

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        pytest.param(["parity"], list(BUILTIN), marks=pytest.mark.slow),
        (["curve", "--seconds", "0"], ["float32"] * 6),
        (["processes", "--processes", "2", "--seconds", "0"], ["2"]),
    ],
    ids=lambda value: value[0],
)
def test_each_table_has_its_rows(what: list[str], rows: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "bench/gpu.py", *what, "--device", "cpu", "--precisions", "float32"]
    command += ["--shared", str(tmp_path), "--texts", "24"]
    done = subprocess.run(
        command, cwd=ROOT, check=True, timeout=280, capture_output=True, text=True
    )
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == rows


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bench/first_gpu.sh", tmp_path / "report"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "sees no GPU" in done.stderr
