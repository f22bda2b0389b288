"""README.md of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.model.artifact import ModelCard
from stream_app.model.references import BUILTIN, resolve
from training.judging.card import write_readme
from training.recipes import load_recipe


def test_it_says_where_the_model_falls_short(tmp_path: Path) -> None:
    figures = {"rows": 9, "accuracy": 0.91, "macro_f1": 0.8, "calibration_error": 0.01}
    per_label = {"spam": {"precision": 0.9, "recall": 0.9, "f1": 0.9, "rows": 4}}
    targets = {"accuracy": 0.91, "per_label.spam.f1": 0.95, "recall_at_fpr.recall": 0.9}
    card = ModelCard(
        name="m",
        version="1",
        labels=("ham", "spam"),
        evaluation={
            "test": {"mail.jsonl": {**figures, "per_label": per_label}},
            "cross_validation": {
                "source": {"test": {"mail.jsonl, never seen": {**figures, "per_label": per_label}}}
            },
        },
        data=[
            {
                "file": "mail.jsonl",
                "use": "test",
                "rows": {},
                "terms": "ours",
                "targets": targets,
                "unseen_targets": {"accuracy": 0.95},
            }
        ],
    )
    write_readme(tmp_path, card)
    said = (tmp_path / "README.md").read_text()
    assert "| mail.jsonl | accuracy | 0.91 | 0.91 |  |" in said
    assert "| mail.jsonl | per_label.spam.f1 | 0.95 | 0.9 | **falls short** |" in said
    assert "| mail.jsonl | recall_at_fpr.recall | 0.9 | | not measured |" in said
    assert "| mail.jsonl, never seen | accuracy | 0.95 | 0.91 | **falls short** |" in said


def test_it_says_when_a_label_is_decided_and_what_that_was_counted_on(tmp_path: Path) -> None:
    rate = {"share": 0.0005, "interval": (0.0001, 0.0019), "texts": 1, "of": 2000}
    rates = {"mail": {"false_positive_rate": rate, "recall": {**rate, "share": 0.9}}}
    spam = {
        "decide_at": 0.987,
        "most_false_positives": 0.001,
        "every_second_text": rates,
        "source_never_seen": {},
    }
    card = ModelCard(
        name="m",
        version="1",
        labels=("ham", "spam"),
        evidence=2,
        span=80,
        decide_at={"spam": 0.987},
        familiar_at=0.01,
        evaluation={"decisions": {"spam": spam}},
    )
    write_readme(tmp_path, card)
    said = (tmp_path / "README.md").read_text()
    assert "count by n / (n + 2). Beside the n-gram head ALBERT's count by 80 / (n + 80)." in said
    assert "familiarity is below 0.01" in said
    assert "`spam` is decided from a score of 0.987, chosen so that at most 0.1%" in said
    assert (
        "| mail | every other text | 1 of 2000, 0.05% (0.01% to 0.19%) | 1 of 2000, 90.00%" in said
    )
    assert "the other sources" not in said


@pytest.mark.parametrize("name", BUILTIN)
def test_the_shipped_ones_are_what_the_cards_make_and_hold_the_recipes_targets(
    name: str, tmp_path: Path
) -> None:
    artifact = resolve(f"builtin:{name}")
    write_readme(tmp_path, artifact.card)
    made = (tmp_path / "README.md").read_text()
    assert (artifact.path / "README.md").read_text() == made
    wanted = [(source.targets, source.unseen_targets) for source in load_recipe(name).sources]
    files = [data for data in artifact.card.data if "file" in data]
    assert [(f["targets"], f.get("unseen_targets", {})) for f in files] == wanted
