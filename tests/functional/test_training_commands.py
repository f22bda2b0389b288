"""`winnow-train` from end to end, on a tiny model and texts that give their label away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors.numpy import load_file
from transformers import AlbertConfig, AlbertModel
from typer.testing import CliRunner

from stream_app.core.machine import cores
from stream_app.engine import load_engine
from stream_app.model.artifact import Artifact, load_artifact
from tests.command_line import refuses, reported, run_main
from tests.tiny_model import save_tiny_albert
from tests.training_data import words, write_data, write_rows
from training.__main__ import app, main

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LIST = ["evaluate", "--list", "--data", "nowhere"]
DISTIL = ("--teacher", "x", "--data", "x", "--out", "x")


def train(*arguments: str | Path) -> Any:
    return reported(app, *arguments)


def fit(folder: Path, out: Path, *more: str, encoder: Path | None = None) -> Any:
    given = ("--recipe", folder / "tiny.toml", "--data", folder, "--out", out)
    given += ("--encoder", encoder or folder / "encoder")
    return train("fit", *given, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, recipe, encoder and, in `model`, what `fit` made of them."""
    folder = tmp_path_factory.mktemp("training")
    write_data(folder)
    save_tiny_albert(folder / "encoder")
    fit(folder, folder / "model")
    return folder


@pytest.fixture
def model(folder: Path) -> Artifact:
    return load_artifact(folder / "model")


def test_fit_makes_a_model_that_learnt_and_tells_what_it_is(model: Artifact) -> None:
    card = model.card
    assert (card.name, card.version, card.labels) == ("tiny", "7", ("ham", "spam"))
    assert card.max_tokens == 24
    assert card.temperature != 1.0
    assert set(card.files) == {
        "config.json",
        "drift.json",
        "familiarity.safetensors",
        "model.safetensors",
        "tokenizer.json",
    }
    assert [source["terms"] for source in card.data if "file" in source] == ["ours", "ours too"]
    assert card.training["seed"] == 1
    assert "another encoder" in card.training["encoder"]["origin"]
    assert card.evaluation["test"]["mail.tar.gz"]["accuracy"] > 0.9


def test_weights_are_float16(model: Artifact) -> None:
    weights = load_file(model.path / "model.safetensors")
    assert {weight.dtype.name for weight in weights.values()} == {"float16"}
    assert json.loads((model.path / "config.json").read_text())["id2label"]["1"] == "spam"


def test_the_same_command_makes_the_same_model(
    folder: Path, model: Artifact, tmp_path: Path
) -> None:
    load_engine("reference", model, threads=cores() + 1)  # torch has so many threads from here on
    fit(folder, tmp_path)
    again = load_artifact(tmp_path).card
    assert again.files == model.card.files
    assert again.temperature == model.card.temperature


def test_a_recipe_may_ask_for_an_n_gram_head(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "head.toml"
    recipe.write_text(
        (folder / "tiny.toml")
        .read_text()
        .replace('version = "7"', 'version = "8"')
        .replace("rows = 150", "encoder_rows = 30")
        + "\n[ngrams]\nbits = 12\n"
    )
    given = ("--recipe", recipe, "--data", folder)
    train("fit", *given, "--encoder", folder / "encoder", "--out", tmp_path / "whole")
    shutil.copytree(folder / "model", tmp_path / "added")
    train("add", "ngrams", tmp_path / "added", *given)
    for name in ("whole", "added"):
        card = load_artifact(tmp_path / name).card
        assert "ngrams.safetensors" in card.files
        figures = card.training["ngrams"]
        assert figures["texts"] > 250
        assert figures["alone"]["mail.tar.gz"]["ngrams"]["accuracy"] > 0.9
        assert card.evaluation["test"]["mail.tar.gz"]["accuracy"] > 0.9
    assert load_artifact(tmp_path / "added").card.parent == "tiny 7"


def test_models_can_share_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(folder, tmp_path / name, "--tokenizer", "../tokenizer", "--steps", "2")
        artifact = load_artifact(tmp_path / name)
        assert not (artifact.path / "tokenizer.json").exists()
        assert artifact.tokenizer == (tmp_path / "tokenizer").resolve()
        assert "../tokenizer/tokenizer.json" in artifact.card.files
    fit(folder, tmp_path / "goes on", "--steps", "1", encoder=tmp_path / "two")
    assert load_artifact(tmp_path / "goes on").card.tokenizer == "."


def test_evaluate_by_recipe_finds_what_fit_found(folder: Path, model: Artifact) -> None:
    report = folder / "report.json"
    given = ("--model", model.path, "--recipe", folder / "tiny.toml", "--data", folder)
    done = CliRunner().invoke(app, ["evaluate", *map(str, given), "--report", str(report)])
    assert (done.exit_code, done.stdout) == (0, "")
    found = json.loads(report.read_text())
    assert found["digest"] == model.digest
    same = ("rows", "accuracy", "macro_f1", "calibration_error", "per_label", "confusion", "auc")
    ours, theirs = found["test"]["mail.tar.gz"], model.card.evaluation["test"]["mail.tar.gz"]
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_evaluate_on_one_file(model: Artifact, tmp_path: Path) -> None:
    write_rows(tmp_path / "new.jsonl.gz", map(words, range(5_000, 5_050)))
    found = train("evaluate", "--model", model.path, "--data", tmp_path / "new.jsonl.gz")
    assert found["test"]["new.jsonl.gz"]["rows"] == 50
    assert found["test"]["new.jsonl.gz"]["accuracy"] > 0.9


def test_split_names_the_messages_that_were_not_trained_on(folder: Path, model: Artifact) -> None:
    named = train("evaluate", "--list", "--recipe", folder / "tiny.toml", "--data", folder)
    assert len(named["mail.tar.gz"]) == model.card.data[0]["rows"]["test"]
    assert set(named["mail.tar.gz"].values()) == {"ham", "spam"}


def save_teacher(folder: Path, encoder: Path) -> Path:
    """An encoder whose layers share nothing, with the tokenizer of `encoder`."""
    torch.manual_seed(0)
    config = AlbertConfig.from_pretrained(encoder, num_hidden_groups=2, embedding_size=16)
    AlbertModel(config).save_pretrained(folder)
    shutil.copyfile(encoder / "tokenizer.json", folder / "tokenizer.json")
    return folder


def test_distil_makes_a_true_albert_that_is_nearer_to_its_teacher(
    folder: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "more.jsonl.gz", map(words, range(400)))
    recipe = tmp_path / "rows.toml"
    whole = (folder / "tiny.toml").read_text()
    recipe.write_text(whole.split("[[sources]]")[0] + '[[sources]]\nfile = "more.jsonl.gz"\n')
    recipe.write_text(recipe.read_text() + 'use = "train"\nterms = "ours"\n')
    teacher = save_teacher(tmp_path / "teacher", folder / "encoder")
    given = ("--teacher", teacher, "--recipe", recipe, "--data", tmp_path)
    found = train("lab", "distil", *given, "--out", tmp_path / "student", "--steps", "40")
    assert found["end"]["loss"] < found["start"]["loss"]
    assert found["end"]["cosine"] > found["start"]["cosine"]
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert (config["num_hidden_groups"], config["model_type"]) == (1, "albert")
    assert json.loads((tmp_path / "student" / "distillation.json").read_text()) == found
    given = ("--recipe", recipe, "--data", tmp_path, "--encoder", tmp_path / "student")
    train("fit", *given, "--out", tmp_path / "model", "--steps", "2")
    # learning on from there, of the same teacher
    given = ("--teacher", teacher, "--student", tmp_path / "student", *given[:4])
    on = train("lab", "distil", *given, "--out", tmp_path / "on", "--steps", "20")
    assert on["start"]["loss"] == pytest.approx(found["end"]["loss"], rel=0.1)
    assert on["end"]["loss"] < on["start"]["loss"]
    assert json.loads((tmp_path / "on" / "config.json").read_text()) == config


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fit", "--out", "x"], 2, "--examples FILE, or --recipe NAME"),
        (["nonsense"], 2, "nonsense"),
        ([*LIST, "--recipe", "nonsense"], 2, "there are: imdb, news, news-teacher"),
        ([*LIST, "--recipe", "news"], 1, "does not exist: check --data"),
        (LIST, 2, "give --recipe"),
        (["evaluate", "--data", "x.jsonl.gz"], 2, "give --model"),
        (["add", "nonsense", "x"], 2, "'nonsense' is not"),
        (["evaluate", "--model", "nowhere", "--data", "x.jsonl.gz"], 1, "nowhere does not exist"),
        (["lab", "distil", *DISTIL, "--student", "x", "--layers", "2"], 2, "leave out --layers"),
    ],
)
def test_an_error_says_what_and_has_an_exit_code(
    arguments: list[str], code: int, said: str
) -> None:
    refuses(main, arguments, code, said)


def test_an_encoder_that_is_none_is_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    given = ("--recipe", folder / "tiny.toml", "--data", folder, "--out", tmp_path / "out")
    done = run_main(main, "fit", *map(str, given), "--encoder", str(tmp_path))
    assert (done.returncode, "has no config.json" in done.stderr) == (1, True)


def test_no_command_is_without_help_and_help_imports_nothing_heavy() -> None:
    for name in getattr(typer.main.get_command(app), "commands", ()):
        result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert len(result.output.split("Options")[0].split()) > 6, name
    code = "import sys, training.__main__; print({'torch', 'transformers'} & set(sys.modules))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout == "set()\n"
