"""A built-in model that meets a language it does not know says so.

The texts were written for this test, and nothing is fitted to them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app

TEXTS = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "other_languages.jsonl").read_text().splitlines()
]


def written(kind: str, language: str) -> list[str]:
    return [row["text"] for row in TEXTS if (row["kind"], row["language"]) == (kind, language)]


def languages(kind: str) -> list[str]:
    return list(dict.fromkeys(row["language"] for row in TEXTS if row["kind"] == kind))


def classified(model: str, source: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["classify", "--model", model, str(source)])
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def mailed(folder: Path, bodies: Sequence[str]) -> Path:
    for number, body in enumerate(bodies):
        message = EmailMessage()
        message["From"], message["To"] = "a@example.org", "b@example.org"
        message["Subject"] = " ".join(body.split()[:3])
        message.set_content(body)
        (folder / f"{number}.eml").write_bytes(message.as_bytes())
    return folder


@pytest.mark.parametrize("language", languages("mail"))
def test_spam_says_that_it_does_not_know_the_language(language: str, tmp_path: Path) -> None:
    found = classified("builtin:spam", mailed(tmp_path, written("mail", language)))
    assert len(found) == 2
    assert {line["decision"] for line in found} == {"unsure"}
    assert all("unfamiliar" in line["marks"] for line in found)
