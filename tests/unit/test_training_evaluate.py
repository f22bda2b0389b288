"""The figures of an evaluation, on logits made by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stream_app.core.errors import ModelError, SourceError
from stream_app.model.artifact import ModelCard, load_artifact
from tests.tiny_model import save_tiny_albert
from training.__main__ import app
from training.data.corpus import Example
from training.judging import figures
from training.judging.card import write_readme
from training.judging.evaluate import Scored, score
from training.judging.figures import measure, measure_short

THREE = ModelCard(name="t", version="1", labels=("positive", "neutral", "negative"))
TWO = ModelCard(name="t", version="1", labels=("ham", "spam"))


def scored(logits: list[list[float]], truth: list[int]) -> Scored:
    one_hot = np.eye(len(logits[0]), dtype=bool)[truth]
    read = np.full(len(logits), 10)
    return Scored(np.array(logits, np.float32), one_hot, read, tokens=100, seconds=2.0)


def test_figures_of_two_labels() -> None:
    found = measure(scored([[2, 0], [0, 1], [3, 0], [0, 9]], [0, 0, 1, 1]), TWO)
    assert (found["rows"], found["accuracy"], found["macro_f1"]) == (4, 0.5, 0.5)
    assert found["confusion"] == [[1, 1], [1, 1]]
    assert found["auc"] == 0.5
    spam = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}
    assert spam.items() <= found["per_label"]["spam"].items()
    assert (found["texts_per_second"], found["tokens_per_second"]) == (2.0, 50)
    assert "accuracy_among_present" not in found


def test_what_is_left_unsure_is_counted_as_right_and_as_wrong() -> None:
    logits = [[5, 0], [5, 0], [0, 5], [0, 5], [0.2, 0], [0, 5]]
    judged = scored(logits, [0, 1, 1, 0, 0, 1])
    assert "decisions" not in measure(judged, TWO)
    card = TWO.model_copy(update={"decide_at": {"ham": 0.9}, "familiar_at": 0.1})
    known = dataclasses.replace(judged, familiarities=np.array([1, 1, 0.05, 0.05, 1, 0.1]))
    assert measure(known, card)["decisions"] == {
        "decided": 0.5,
        "right_of_decided": pytest.approx(2 / 3, abs=1e-4),
        "unsure_though_right": pytest.approx(2 / 6, abs=1e-4),
        "unsure_and_wrong": pytest.approx(1 / 6, abs=1e-4),
    }


def test_short_texts_have_figures_of_their_own() -> None:
    judged = scored([[2, 0], [2, 0], [9, 0]], [0, 1, 1])
    mixed = dataclasses.replace(judged, lengths=np.array([4, 4, 100]))
    found = measure_short(mixed, TWO.model_copy(update={"evidence": 4.0}))
    assert (found["rows"], found["accuracy"]) == (2, 0.5)
    assert found["calibration_error"] == pytest.approx(0.2311, abs=1e-4)  # said 1 / (1 + e^-1)
    assert found["calibration_error_by_chance"] == pytest.approx(0.2502, abs=1e-4)
    assert found["calibration_error_without_evidence"] == pytest.approx(0.3808, abs=1e-4)
    long = dataclasses.replace(judged, lengths=np.full(3, 17))
    assert measure_short(long, TWO) == {}
    assert "short" not in measure(mixed, TWO), "too few to say anything"
    many = scored([[2, 0]] * 20, [0] * 20)
    many = dataclasses.replace(many, lengths=np.full(20, 16))
    assert measure(many, TWO)["short"] == measure_short(many, TWO)


def test_a_label_that_is_never_true_counts_as_wrong_and_can_be_left_out() -> None:
    judged = scored([[2, 3, 0], [0, 0, 2], [0, 1, 2]], [0, 2, 2])
    found = measure(judged, THREE)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["accuracy_among_present"] == 1.0
    said = 1 / (1 + np.exp(-2))  # of the label that is left, each time
    assert found["calibration_error_among_present"] == pytest.approx(1 - said, abs=1e-4)
    short = dataclasses.replace(judged, lengths=np.full(3, 5))
    assert measure_short(short, THREE)["calibration_error_among_present"] == pytest.approx(
        1 - said, abs=1e-4
    )


def test_a_figure_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def surest(judged: figures.Judged) -> dict[str, float]:
        return {"surest": float(judged.scores.max())}

    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, surest))
    (tmp_path / "a.csv").write_text("text,label\na short text,ham\na good text,spam\n")
    options = ("--model", str(save_tiny_albert(tmp_path / "m")), "--data", str(tmp_path / "a.csv"))
    result = CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
    assert 0.5 <= json.loads(result.stdout)["test"]["a.csv"]["surest"] <= 1
    found = measure(scored([[2, 0], [0, 1]], [0, 1]), TWO)
    source = {"file": "a.csv", "use": "test", "rows": {}, "terms": "", "targets": {"surest": 0.99}}
    card = TWO.model_copy(update={"data": [source], "evaluation": {"test": {"a.csv": found}}})
    write_readme(tmp_path, card)
    reached = f"| a.csv | surest | 0.99 | {found['surest']} | **falls short** |"
    assert reached in (tmp_path / "README.md").read_text()


def test_scores_are_in_the_order_of_the_examples(tmp_path: Path) -> None:
    artifact = load_artifact(save_tiny_albert(tmp_path))
    texts = ["a short text " * length for length in (9, 1, 30, 4)]
    together = score(artifact, [Example(text, ("ham",)) for text in texts], "reference", "cpu")
    for row, text in enumerate(texts):
        alone = score(artifact, [Example(text, ("spam",))], "reference", "cpu")
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-5)
    assert together.truth.tolist() == [[True, False]] * 4
    assert score(artifact, [], "reference", "cpu").logits.shape == (0, 2)


def test_a_label_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    artifact = load_artifact(save_tiny_albert(tmp_path))
    with pytest.raises(ModelError, match="no label 'eggs'"):
        score(artifact, [Example("text", ("eggs",))], "fake")


def test_texts_without_one_label_are_not_taken_for_the_first(tmp_path: Path) -> None:
    rows = ({"text": "a short text", "label": label} for label in (["ham"], [], ["ham", "spam"]))
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    model = save_tiny_albert(tmp_path / "m")
    options = ("--model", str(model), "--data", str(tmp_path / "a.jsonl"), "--engine", "fake")
    with pytest.raises(SourceError, match="2 of 3 texts have no label or several"):
        CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
