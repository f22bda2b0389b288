"""Winnow in another program: the examples of docs/python.md run, and say what the service says."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from stream_app.core.errors import ConfigError, RecordError
from stream_app.library import LocalModel
from tests.tiny_model import save_tiny_albert

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_albert(tmp_path_factory.mktemp("tiny")))


def test_the_examples_of_the_page_run(tmp_path: Path):
    (tmp_path / "Maildir" / "new").mkdir(parents=True)
    mail = (ROOT / "examples" / "mail" / "spam-lottery.eml").read_bytes()
    (tmp_path / "Maildir" / "new" / "1").write_bytes(mail)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(EXAMPLES)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == [
        "positive",
        "negative",
        "spam",
    ]


def test_the_first_example_has_five_lines():
    assert len([line for line in EXAMPLES[0].splitlines() if line]) <= 5


def test_what_cannot_be_labelled_has_its_reason_in_its_place(tiny: str):
    with LocalModel(tiny) as model:
        good, bad, surrogate = model.label(["some words", b"", "words \ud800"])
    assert isinstance(bad, RecordError)
    assert bad.code == "no_text"
    assert not isinstance(good, RecordError)
    assert not isinstance(surrogate, RecordError)


async def test_a_program_with_a_loop_of_its_own_can_call_it(tiny: str):
    assert asyncio.get_running_loop()
    with LocalModel(tiny, min_confidence=1.0) as model:
        found = [model.label(["some words"] * 3), model.label(iter(["some words"]))]
    assert [len(each) for each in found] == [3, 1]
    assert found[0][0] == found[1][0]
    assert found[0][0].decision == "unsure"


def test_a_wrong_setting_or_format_is_refused(tiny: str):
    with pytest.raises(ConfigError, match="there are: rfc822, json, feed, text"):
        LocalModel(tiny, "telex")
    with pytest.raises(ValidationError, match="min_confidence"):
        LocalModel(tiny, min_confidence=2)
