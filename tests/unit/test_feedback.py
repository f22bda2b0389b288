"""The published contract of the feedback topic."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from stream_app.core.feedback import Feedback, told
from stream_app.model.artifact import sha256
from training.refreshing.feedback_set import (
    Correction,
    Pull,
    given_since,
    pulls,
    reached,
    read_set,
    write_pull,
)

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


def pulled(first: int, end: int, **more: Any) -> Pull:
    """A manifest of one partition."""
    given = {"route": "mail", "topic": "feedback", "offsets": {0: (first, end)}}
    given |= {"counts": {"kept": 1}, "refused": {}, "labels": {"spam": 1}, "sources": {"ada": 1}}
    return Pull.model_validate(given | {"pulled_at": datetime.now(UTC), "sha256": ""} | more)


def test_what_was_given_since_is_told_by_log_and_offset(tmp_path: Path) -> None:
    """A topic that was made again begins at offset 0: its corrections were taken for old ones."""

    def correction(offset: int, topic_id: str | None) -> Correction:
        when = datetime.now(UTC)
        return Correction(None, "", f"{offset}", ("spam",), "ada", when, 0, 0, offset, topic_id)

    for each in (
        pulled(0, 5),  # of 0.2
        pulled(5, 9, topic_id="first"),
        pulled(0, 3, topic_id="second", log=2),
    ):
        write_pull(tmp_path, each, [])
    of_first, every = pulls(tmp_path)[:2], pulls(tmp_path)
    assert reached(of_first) == {"first/0": 9}
    old, new = correction(8, "first"), [correction(9, "first"), correction(1, "second")]
    assert given_since([old, *new], reached(of_first)) == new
    assert given_since([old, *new[1:]], reached(every)) == []
    assert given_since([old, new[0]], {"0": 9}) == [new[0]], "of a model of 0.2"


def test_a_folder_of_corrections_of_one_label_each_is_read(tmp_path: Path) -> None:
    """As 0.2 wrote it: docs/compatibility.md promises that feedback folders stay readable."""
    row = {"id": "mail/0/1", "title": "", "body": "words", "label": "spam", "who": "ada"}
    row |= {"when": datetime.now(UTC), "logged": 1, "partition": 0, "offset": 0}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "feedback-0-1.parquet")
    manifest = pulled(0, 1, sha256=sha256(tmp_path / "feedback-0-1.parquet"))
    (tmp_path / "feedback-0-1.json").write_text(manifest.model_dump_json())
    [found] = read_set(tmp_path, pulls(tmp_path)).corrections
    assert (found.labels, found.body) == (("spam",), "words")
    again = write_pull(tmp_path, manifest.model_copy(update={"offsets": {0: (1, 2)}}), [found])
    assert read_set(tmp_path, [again]).corrections == [found]
