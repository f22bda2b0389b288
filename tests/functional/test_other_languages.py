"""Languages that the built-in models know; and that they say so where they do not.

The texts were written for this test, and nothing is fitted to them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream_app.__main__ import app

MULTILINGUAL = "builtin:sentiment-multilingual"
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "reviews-multilingual.jsonl"


def rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


TEXTS = rows(ROOT / "tests" / "other_languages.jsonl")
NEAR_THE_NINE = {"Dutch", "Japanese", "Polish", "Swedish"}  # so many words in common with the nine


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


def test_sentiment_in_nine_languages_is_labelled() -> None:
    found = classified(MULTILINGUAL, EXAMPLES)
    right = Counter(
        row["language"]
        for row, line in zip(rows(EXAMPLES), found, strict=True)
        if line["label"] == row["expected"]
    )
    assert set(right) == {"ar", "de", "en", "es", "fr", "hi", "it", "pt", "zh"}
    assert min(right.values()) >= 2  # of four, of which one or two are meant to mislead
    assert right.total() >= 24


@pytest.mark.parametrize("language", languages("review"))
def test_sentiment_says_that_it_does_not_know_the_language(language: str, tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in written("review", language)))
    found = classified(MULTILINGUAL, file)
    assert len(found) == 3
    assert max(line["familiarity"] for line in found) < 0.05
    if language not in NEAR_THE_NINE:
        assert {line["decision"] for line in found} == {"unsure"}
        assert all("unfamiliar" in line["marks"] for line in found)
