"""What a refresh learns from: new texts, old ones against forgetting, none that it is tested on."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.training_data import RECIPE, words, write_data, write_rows
from training.data.corpus import Corpus, Example
from training.recipe import Recipe
from training.recipes import load_recipe
from training.refreshing.feedback_set import Correction
from training.refreshing.rehearsal import FEEDBACK, base_set, merge

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def correction(number: int, body: str, label: str = "spam", who: str = "ada") -> Correction:
    return Correction(f"mail/0/{number}", "", body, (label,), who, NOW, number, 0, number)


def new_words(number: int) -> str:
    return " ".join(f"w{number * 7 + n}" for n in range(12))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    file = write_data(tmp_path)
    budgets = "[refresh]\nbudget = 40\nhead_budget = 100\nmax_feedback_share = 0.25\ntest_rows = 20"
    file.write_text(RECIPE.replace("[[sources]]", f"{budgets}\n[[sources]]", 1))
    return load_recipe(str(file))


@pytest.fixture
def base(recipe: Recipe, tmp_path: Path) -> Corpus:
    return base_set(recipe, tmp_path, tmp_path / "work")


def test_the_base_set_is_kept_until_a_file_changes(
    recipe: Recipe, base: Corpus, tmp_path: Path
) -> None:
    (kept,) = (tmp_path / "work").iterdir()
    assert base_set(recipe, tmp_path, tmp_path / "work") == base
    assert len(base.test["mail.tar.gz"]) == 20
    write_rows(tmp_path / "more.jsonl.gz", map(words, range(2000, 2100)))
    changed = base_set(recipe, tmp_path, tmp_path / "work")
    assert changed != base
    assert kept in (tmp_path / "work").iterdir()
    assert changed.test == base.test


def test_budgets_hold_the_newest_corrections_and_a_sample_of_every_old_kind(
    recipe: Recipe, base: Corpus
) -> None:
    merged = merge(base, [correction(n, new_words(n)) for n in range(100)], recipe, "1")
    learnt = [example for example in merged.train if example.source == FEEDBACK]
    assert (len(merged.train), len(learnt)) == (40, 10)
    assert len(merged.train) + len(merged.more) == 100
    held_out = merged.test[FEEDBACK]
    assert 8 < len(held_out) < 35
    calibrating = [example for example in merged.validation if example.source == FEEDBACK]
    every = [*learnt, *held_out, *calibrating, *merged.more]
    assert len({example.text for example in every}) == len(every)
    newest = [new_words(n) for n in range(100)]
    newest = [t for t in newest if t not in {e.text for e in (*held_out, *calibrating)}]
    assert [example.text for example in learnt] == newest[-10:]
    old = Counter((e.source, e.label) for e in merged.train if e.source != FEEDBACK)
    whole = Counter((e.source, e.label) for e in base.train)
    for kind, count in whole.items():
        assert abs(old[kind] / 30 - count / len(base.train)) < 0.04
    told = merged.lineage[-1][FEEDBACK]
    assert told["rehearsed"] == {"encoder": 30, "head": 75}
    assert told["held_out"] == len(held_out)


def test_another_salt_rehearses_others_and_the_same_one_the_same(
    recipe: Recipe, base: Corpus
) -> None:
    given = [correction(n, new_words(n)) for n in range(30)]
    one, other = merge(base, given, recipe, "1"), merge(base, given, recipe, "2")
    assert merge(base, given, recipe, "1") == one
    assert one.test == other.test
    assert {e.text for e in one.train} != {e.text for e in other.train}


def test_a_corrected_base_text_is_not_rehearsed_and_a_test_text_not_learnt(
    recipe: Recipe, base: Corpus
) -> None:
    recipe = recipe.model_copy(
        update={"refresh": recipe.refresh.model_copy(update={"budget": 1000, "head_budget": 1000})}
    )
    tested = base.test["mail.tar.gz"][0]
    wrong = [e for e in base.train if e.label == "ham"]
    given = [correction(n, e.text, "spam") for n, e in enumerate(wrong)]
    merged = merge(base, [*given, correction(999, tested.text)], recipe, "1")
    labels: dict[str, set[str]] = {}
    for example in (*merged.train, *merged.more):
        labels.setdefault(example.text, set()).add(example.label)
    learnt = [e for e in merged.train if e.source == FEEDBACK]
    assert learnt
    assert all(labels[example.text] == {"spam"} for example in learnt)
    assert tested.text not in labels
    assert merged.lineage[-1][FEEDBACK]["dropped_like_a_test_text"] >= 1


def test_of_equal_texts_the_last_label_counts(recipe: Recipe) -> None:
    text = "two records of one text"
    given = [correction(1, text, "spam"), correction(2, text, "ham", "bob")]
    merged = merge(Corpus(), given, recipe, "")
    (example,) = [*merged.train, *merged.more, *merged.validation, *merged.test[FEEDBACK]]
    assert example == Example(text, ("ham",), "", FEEDBACK)
