"""The published contract of the feedback topic."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stream_app.core.feedback import Feedback, told

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


def test_it_gives_one_label_or_any_number_in_no_order() -> None:
    assert Feedback.model_validate(GIVEN | {"text": "x"}).right == ("spam",)
    for labels, right in ((["b", "a"], ("a", "b")), (["a"], ("a",)), ([], ())):
        several = GIVEN | {"text": "x", "label": None, "labels": labels}
        assert Feedback.model_validate(several).right == right


def test_what_is_told_keeps_the_form_that_every_version_reads_where_it_can() -> None:
    one, two, none = (
        json.loads(told(labels, "mail", "ada", id_="mail/0/1").encoded)
        for labels in (["a"], ["b", "a"], [])
    )
    assert (one["label"], two["labels"], none["labels"]) == ("a", ["b", "a"], [])
    assert "labels" not in one
    assert "label" not in two


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
        {"text": "the words", "labels": ["spam"]},
        {"text": "the words", "label": None},
        {"text": "the words", "label": None, "labels": ["spam", "spam"]},
        {"text": "the words", "label": None, "labels": [""]},
        {"text": "the words", "when": "0001-01-01T00:00:00+14:00"},
        {"text": "the words", "when": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_anything_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate(GIVEN | wrong)
