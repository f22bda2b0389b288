"""The benchmark of whole streams runs, and everyone in it labels what the archive says."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, skip_without_kafka


def report(shared: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What a run writes."""
    skip_without_kafka()
    file = folder / "report.json"
    command = [
        sys.executable,
        "bench/stream_peers.py",
        "--shared",
        str(shared),
        "--json",
        str(file),
    ]
    subprocess.run([*command, *options], cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_smoke_run_has_a_row_for_each_app(shared: Path, tmp_path: Path) -> None:
    found = report(shared, tmp_path, "--smoke")
    assert [row["name"] for row in found["rows"]][:2] == ["Winnow", "Faust"]
    assert len(found["rows"]) + len(found["left_out"]) == 3  # Quix Streams may not be installed
    for row in found["rows"]:
        assert row["mails_per_second"] > 0
        assert row["right"] >= 0.75  # of sixteen


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_winnow_alone_survives_a_poison_record(shared: Path, tmp_path: Path) -> None:
    few = ("--messages", "16", "--rounds", "1", "--seconds", "2")
    winnow, *peers = report(shared, tmp_path, *few)["rows"]
    assert winnow["killed"]["lost"] == winnow["poisoned"]["lost"] == 0
    assert winnow["poisoned"]["deaths"] == 0
    assert all(row["poisoned"]["lost"] > 0 for row in peers)


def test_a_broker_that_does_not_start_is_said(tmp_path: Path) -> None:
    """Another process may have its port by then: the benchmarks waited for ever for one that had
    ended."""
    program = tmp_path / "kafka" / "kafka.sh"
    for folder in (program.parent, tmp_path / "data" / "reviews"):
        folder.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    gzip.open(tmp_path / "data" / "reviews" / "sst2_train.jsonl.gz", "wb").close()
    command = [sys.executable, "bench/delivery.py", "--shared", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("kafka.sh ended with 3")
