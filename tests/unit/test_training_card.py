"""README.md of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.model.artifact import ModelCard
from stream_app.model.references import BUILTIN, resolve
from training.judging.card import write_readme
from training.recipe import load_recipe


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
