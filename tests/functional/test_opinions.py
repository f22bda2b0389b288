"""How `builtin:reviews` reads what people type, by kind: texts that no model has learnt from."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from stream_app.library import LocalModel
from stream_app.model.preparation import prepare
from stream_app.model.references import resolve
from training.data.corpus import Example
from training.judging.evaluate import score

OPINIONS = Path(__file__).parent.parent / "opinions.jsonl"
FLOORS = {  # of the texts of each kind; what is reached stands in docs/builtin-models.md
    "negation": 0.5,
    "one word or two": 0.9,
    "emoji": 0.55,
    "mixed": 0.18,
    "plain statement": 0.7,
    "sarcasm": 0.35,
}


def opinions() -> list[dict[str, str]]:
    return [json.loads(line) for line in OPINIONS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def right() -> dict[str, list[bool]]:
    artifact, rows = resolve("builtin:reviews"), opinions()
    texts = [prepare("", row["text"], artifact.card.preparation) for row in rows]
    examples = [Example(text, (row["label"],)) for text, row in zip(texts, rows, strict=True)]
    given = score(artifact, examples, "auto").logits.argmax(axis=1)
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for row, label in zip(rows, given, strict=True):
        found[row["kind"]].append(artifact.card.labels[label] == row["label"])
    return found


def test_each_kind_is_there(right: dict[str, list[bool]]) -> None:
    assert set(right) == set(FLOORS)
    assert sum(map(len, right.values())) == 121


@pytest.mark.parametrize("kind", FLOORS)
def test_so_many_of_a_kind_are_labelled_as_meant(right: dict[str, list[bool]], kind: str) -> None:
    assert sum(right[kind]) >= FLOORS[kind] * len(right[kind])


def test_most_opinions_of_a_word_or_two_are_decided_and_hardly_one_wrongly() -> None:
    rows = [row for row in opinions() if row["kind"] == "one word or two"]
    with LocalModel("builtin:reviews") as model:
        made = list(model.label([row["text"] for row in rows]))
    decided = [(m, row) for m, row in zip(made, rows, strict=True) if m.decision != "unsure"]
    assert len(decided) >= 0.7 * len(rows)
    assert sum(m.decision != row["label"] for m, row in decided) <= 1
