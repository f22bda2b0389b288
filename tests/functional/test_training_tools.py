"""The commands around `fit`: cross-validate, search, average, vocab, advise, and what they tell."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner

from stream_app.core.errors import ModelError
from stream_app.model.artifact import FAMILIARITY, WEIGHTS, load_artifact, write_card
from stream_app.model.drift_reference import load_drift
from stream_app.model.exits import load_exits
from stream_app.model.familiarity import load_familiarity
from tests.command_line import reported
from tests.tiny_model import save_tiny_albert
from tests.training_data import words, write_data, write_rows
from training.__main__ import app
from training.improving import advise as advising
from training.recipes import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore")


def train(*arguments: str | Path) -> Any:
    return reported(app, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, recipe, encoder and, in `one` and `two`, models of two seeds."""
    folder = tmp_path_factory.mktemp("tools")
    write_data(folder)
    save_tiny_albert(folder / "encoder")
    for name, seed in (("one", 1), ("two", 2)):
        recipe = folder / f"{name}.toml"
        whole = (folder / "tiny.toml").read_text()
        recipe.write_text(whole.replace("warmup_steps = 5", f"warmup_steps = 5\nseed = {seed}"))
        given = ("--data", folder, "--encoder", folder / "encoder", "--out", folder / name)
        train("fit", "--recipe", recipe, *given)
    return folder


def given(folder: Path) -> tuple[str | Path, ...]:
    return ("--recipe", folder / "tiny.toml", "--data", folder, "--encoder", folder / "encoder")


def test_every_message_is_scored_out_of_fold(folder: Path, tmp_path: Path) -> None:
    model, page = tmp_path / "model", tmp_path / "r.html"
    shutil.copytree(folder / "one", model)
    told = ("--html", page, "--model", model)
    found = train("lab", "cross-validate", *given(folder), "--folds", "2", *told)
    figures = found["test"]["out of fold"]
    assert figures["rows"] == 350  # of 200 mails and 150 rows
    assert figures["recall_at_fpr"]["negatives"] == figures["per_label"]["ham"]["rows"]
    assert figures["accuracy"] > 0.9
    low, high = figures["intervals"]["accuracy"]
    assert low <= figures["accuracy"] <= high
    assert "by fold" in page.read_text()
    noted = load_artifact(model).card.evaluation["cross_validation"]["fold"]
    assert (noted["test"]["out of fold"], noted["fits"]) == (figures, 2)
    assert f"| out of fold | 350 | {figures['accuracy']}" in (model / "README.md").read_text()


def test_figures_go_into_the_card_of_the_recipe_s_own_model(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text((folder / "tiny.toml").read_text().replace('"tiny"', '"other"'))
    asked = ("--data", folder, "--encoder", folder / "encoder", "--model", folder / "one")
    command = ["lab", "cross-validate", "--recipe", other, *asked]
    refused = CliRunner().invoke(app, [str(part) for part in command])
    assert "is a model of tiny, not of recipe other" in str(refused.exception)


def test_each_corpus_is_scored_by_a_model_of_the_others(folder: Path) -> None:
    found = train("lab", "cross-validate", *given(folder), "--by", "source")["test"]
    assert {name: row["rows"] for name, row in found.items()} == {
        "mail.tar.gz, never seen": 200,
        "more.jsonl.gz, never seen": 150,
    }
    assert min(row["accuracy"] for row in found.values()) > 0.9


def test_a_model_is_given_early_exits(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "one", model)
    before = load_artifact(model)
    data = ("--recipe", folder / "tiny.toml", "--data", folder)
    report = train("add", "exits", model, *data)
    after = load_artifact(model)
    assert after.digest != before.digest
    exits = load_exits(after)
    assert exits is not None
    layers, labels, _ = exits.weight.shape
    assert (layers, labels) == (1, len(after.card.labels))
    assert after.card.training["exits"]["test"] == report
    assert '"exits"' in (model / "README.md").read_text()
    for ways in report.values():
        assert ways["early"]["accuracy"] >= ways["full"]["accuracy"] - 0.05
    recipe = tmp_path / "head.toml"
    recipe.write_text((folder / "tiny.toml").read_text() + "\n[ngrams]\nbits = 12\n")
    train("add", "ngrams", model, "--recipe", recipe, "--data", folder)
    other = load_artifact(model)  # its logits are others: no exit fits them
    assert load_exits(other) is None
    assert "exits.safetensors" not in other.card.files
    assert "exits" not in other.card.training


def test_a_model_is_given_a_drift_reference(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "one", model)
    fitted = load_artifact(model)
    (model / "drift.json").unlink()
    write_card(model, fitted.card.model_copy(update={"files": {}}))
    assert load_drift(load_artifact(model)) is None
    data = ("--recipe", folder / "tiny.toml", "--data", folder)
    told = train("add", "drift-reference", model, *data)
    assert told == {"texts": sum(d["rows"]["validation"] for d in fitted.card.data if "rows" in d)}
    assert load_artifact(model) == dataclasses.replace(fitted, path=model)


def test_a_model_from_before_is_given_bars_and_familiarity(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "one", model)
    fitted = load_artifact(model)
    (model / FAMILIARITY).unlink()
    older = {"files": {}, "familiar_at": None, "evidence": 0.0}
    write_card(model, fitted.card.model_copy(update=older))
    assert load_familiarity(load_artifact(model)) is None
    recipe = tmp_path / "bars.toml"
    more = "\n[decide]\nfalse_positives = { spam = 0.1 }\nunfamiliar = 0.02\n"
    more += "[preparation]\nmax_chars = 999\n"
    recipe.write_text((folder / "tiny.toml").read_text() + more)
    told = train("add", "decisions", model, "--recipe", recipe, "--data", folder)
    after = load_artifact(model)
    assert load_familiarity(after) is not None
    assert (set(after.card.decide_at), after.card.familiar_at) == ({"spam"}, 0.02)
    assert after.card.preparation.max_chars == 999, "it reads texts as they were read to measure it"
    assert (after.card.temperature, after.card.evidence) == (
        fitted.card.temperature,
        fitted.card.evidence,
    )
    assert after.card.files[WEIGHTS] == fitted.card.files[WEIGHTS]
    found = told["decisions"]["spam"]
    assert found["decide_at"] == after.card.decide_at["spam"]
    assert set(found["every_second_text"]) == set(found["source_never_seen"])
    assert "## Decisions" in (model / "README.md").read_text()


def test_a_search_proposes_prunes_and_goes_on_where_it_ended(folder: Path, tmp_path: Path) -> None:
    out, study = tmp_path / "found.toml", tmp_path / "study.log"
    options = (*given(folder), "--out", out, "--steps", "12", "--study", study)
    train("lab", "search", *options, "--trials", "2")
    found = train("lab", "search", *options, "--trials", "5")
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3, 4]
    best = found["trials"][found["best"]]
    assert best["macro_f1"] == max(trial["macro_f1"] or 0 for trial in found["trials"])
    assert load_recipe(str(out)).hyper.learning_rate == best["learning_rate"]
    assert tomllib.loads(out.read_text())["hyper"] == load_recipe(str(out)).hyper.model_dump(
        exclude_none=True
    )


def test_an_average_is_one_model_that_says_what_it_is_of(folder: Path, tmp_path: Path) -> None:
    data = ("--recipe", folder / "tiny.toml", "--data", folder)
    found = train(
        "lab", "average", folder / "one", folder / "two", *data, "--out", tmp_path / "out"
    )
    parts = [load_artifact(folder / name) for name in ("one", "two")]
    assert [part["digest"] for part in found["average_of"]] == [part.digest for part in parts]
    artifact = load_artifact(tmp_path / "out")
    assert artifact.card.evaluation["test"]["mail.tar.gz"]["rows"] > 20
    assert artifact.card.files["model.safetensors"] not in {
        part.card.files["model.safetensors"] for part in parts
    }
    save_tiny_albert(tmp_path / "other", labels=("spam", "ham"))
    with pytest.raises(ModelError, match="cannot be averaged: another labels"):
        train("lab", "average", folder / "one", tmp_path / "other", *data, "--out", tmp_path / "no")


def test_an_average_has_no_early_exits(folder: Path, tmp_path: Path) -> None:
    data = ("--recipe", folder / "tiny.toml", "--data", folder)
    part, out = tmp_path / "part", tmp_path / "out"
    shutil.copytree(folder / "one", part)
    train("add", "exits", part, *data)
    assert load_artifact(part).card.exit_confidence is not None
    train("lab", "average", part, folder / "two", *data, "--out", out)
    artifact = load_artifact(out)
    assert load_exits(artifact) is None
    assert artifact.card.exit_confidence is None


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_a_vocabulary_and_an_encoder_that_uses_it(folder: Path, tmp_path: Path, kind: str) -> None:
    write_rows(tmp_path / "more.jsonl.gz", map(words, range(400)))
    head = (folder / "tiny.toml").read_text().split("[[sources]]")[0]
    recipe = tmp_path / "rows.toml"
    source = '[[sources]]\nfile = "more.jsonl.gz"\nuse = "develop"\nterms = "ours"\n'
    recipe.write_text(head + source)
    options = ("--recipe", recipe, "--data", tmp_path, "--kind", kind, "--size", "100")
    out = tmp_path / "encoder"
    found = train("lab", "vocab", *options, "--encoder", folder / "encoder", "--out", out)
    assert found["new"]["pieces"] <= 100
    assert found["new"]["unknown_share"] == 0
    train("lab", "vocab", *options, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_text() == (
        out / "tokenizer.json"
    ).read_text()
    encoded = Tokenizer.from_file(str(out / "tokenizer.json")).encode("A short TEXT")
    assert (encoded.tokens[0], encoded.tokens[-1]) == ("[CLS]", "[SEP]")
    fitted = train(
        "fit", "--recipe", recipe, "--data", tmp_path, "--encoder", out, "--out", tmp_path / "model"
    )
    assert fitted["test"] == {}
    assert load_artifact(tmp_path / "model").card.temperature > 0


def test_the_page_of_an_evaluation_holds_its_figures_and_plots(
    folder: Path, tmp_path: Path
) -> None:
    data = ("--data", folder, "--recipe", folder / "tiny.toml")
    page, report = tmp_path / "page.html", tmp_path / "report.json"
    options = ("--model", str(folder / "one"), *map(str, data), "--html", str(page))
    result = CliRunner().invoke(app, ["evaluate", *options, "--report", str(report)])
    assert result.exit_code == 0, result.output
    told, text = json.loads(report.read_text()), page.read_text()
    figures = told["test"]["mail.tar.gz"]
    assert str(figures["macro_f1"]) in text
    for title in ("Confusion", "ROC", "Precision and recall", "Is confidence what it says?"):
        assert text.count(f"<figcaption>{title}") == 1
    assert told["plots"]["mail.tar.gz"]["curves"]["spam"]["roc"][-1] == [1.0, 1.0]
    assert figures["calibration_error"] <= figures["calibration_error_before"] + 0.05


def test_advice_is_the_largest_size_that_meets_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [
        advising.Size(name, layers, 16, 2, None, "", embedding=8)
        for name, layers in (("one", 1), ("two", 2), ("many", 40))
    ]
    monkeypatch.setattr(advising, "SIZES", sizes)
    monkeypatch.setattr(advising, "_SECONDS", 0.01)
    found = train("lab", "advise", "--tokens", "16", "--latency-ms", "60000")
    assert found["advised"] == "many"
    assert [row["name"] for row in found["sizes"]] == ["one", "two", "many"]
    none = train("lab", "advise", "--tokens", "16", "--texts-per-second", "1e12")
    assert (none["advised"], len(none["sizes"])) == (None, 1)


@pytest.mark.parametrize("size", advising.SIZES[:2])
def test_parameters_are_counted_as_the_model_has_them(size: advising.Size, tmp_path: Path) -> None:
    from transformers import AlbertForSequenceClassification

    artifact = advising._random_model(size, tmp_path)
    model = AlbertForSequenceClassification.from_pretrained(artifact.path)
    assert model.num_parameters() == size.parameters
