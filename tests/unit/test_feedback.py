"""The published contract of the feedback topic."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stream_app.core.feedback import Feedback

SCHEMA = Path(__file__).parents[2] / "docs" / "feedback.schema.json"
GIVEN = {"label": "spam", "route": "mail", "who": "ada", "when": "2026-03-01T10:00:00Z"}


def test_the_published_schema_is_current() -> None:
    assert json.loads(SCHEMA.read_text()) == Feedback.model_json_schema(), (
        "write it anew: python -c 'import json; from stream_app.core.feedback import Feedback; "
        "print(json.dumps(Feedback.model_json_schema(), indent=2))' > docs/feedback.schema.json"
    )


def test_it_is_about_a_labelled_record_or_a_text() -> None:
    for about in ({"id": "mail/3/41"}, {"text": "the words"}):
        feedback = Feedback.model_validate(GIVEN | about)
        assert Feedback.model_validate_json(feedback.model_dump_json()) == feedback


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"id": "mail/3/41", "text": "the words"},
        {"id": "mail/3"},
        {"id": "mail/3/x"},
        {"text": ""},
        {"text": "the words", "when": "2026-03-01T10:00:00"},
        {"text": "the words", "mood": "angry"},
        {"text": "the words", "when": "0001-01-01T00:00:00+14:00"},
        {"text": "the words", "when": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_anything_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate(GIVEN | wrong)
