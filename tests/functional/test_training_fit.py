"""How `winnow-train fit` runs: killed and resumed, in two processes, watched, ended early."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from safetensors.torch import load_file
from typer.testing import CliRunner

from stream_app.core.errors import ConfigError
from stream_app.engine import load_engine
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.artifact import (
    CONFIG,
    DRIFT,
    FAMILIARITY,
    NGRAMS,
    TOKENIZER,
    WEIGHTS,
    Artifact,
    load_artifact,
)
from stream_app.model.references import resolve
from tests.tiny_model import RARE, save_tiny_albert
from tests.training_data import WORDS, words, write_data
from training.__main__ import app

MARKS = {"ham": "good", "spam": RARE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    write_data(folder)
    save_tiny_albert(folder / "encoder")
    return folder


def recipe(folder: Path, name: str, hyper: str) -> Path:
    """The tiny recipe with more hyper-parameters."""
    file = folder / f"{name}.toml"
    whole = (folder / "tiny.toml").read_text()
    file.write_text(whole.replace("warmup_steps = 5", f"warmup_steps = 5\n{hyper}"))
    return file


def command(folder: Path, recipe: Path, out: Path, *more: str | Path) -> list[str]:
    given = ("--recipe", recipe, "--data", folder, "--encoder", folder / "encoder", "--out", out)
    return ["fit", *map(str, given), *map(str, more)]


def run(arguments: Sequence[str], *launcher: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *launcher, "training", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def fit(*arguments: str) -> Artifact:
    """In this process: a process of its own takes seconds to import everything."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return load_artifact(Path(arguments[arguments.index("--out") + 1]))


def test_a_killed_run_goes_on_and_makes_the_model_it_would_have_made(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = recipe(folder, "often", "evaluate_steps = 7")  # in the middle of an epoch, of 19 steps
    whole = fit(*command(folder, file, tmp_path / "whole"))
    resumable = command(folder, file, tmp_path / "out", "--checkpoints", tmp_path / "checkpoints")
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *resumable],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    evaluated = (line for line in process.stderr if "validation loss" in line)
    for _ in range(4):  # the checkpoint of the third evaluation is complete
        next(evaluated)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with caplog.at_level("INFO"):
        resumed = fit(*resumable)
    [begun] = re.findall(r"continuing from checkpoint-(\d+)", caplog.text)
    assert int(begun) in range(21, 114, 7)  # where the kill came, which a busy machine delays
    assert resumed.card.files == whole.card.files
    other = command(folder, file, tmp_path / "other", "--checkpoints", tmp_path / "checkpoints")
    with pytest.raises(ConfigError, match="are of another recipe, encoder or data"):
        fit(*other, "--steps", "3")


def test_a_model_of_one_byte_a_weight_serves_as_one_of_two(folder: Path, tmp_path: Path) -> None:
    two = fit(*command(folder, folder / "tiny.toml", tmp_path / "two"))
    small = folder / "small.toml"
    small.write_text(
        (folder / "tiny.toml").read_text().replace("[hyper]", 'stored = "float8"\n[hyper]')
    )
    one = fit(*command(folder, small, tmp_path / "one"))
    tensors, exact = (load_file(model.path / WEIGHTS) for model in (one, two))
    kinds = {tensor.dtype for name, tensor in tensors.items() if tensor.ndim > 1}
    assert kinds == {torch.float8_e4m3fn, torch.float16}  # the latter the classifier's
    for name, tensor in tensors.items():
        apart = (tensor.float() - exact[name].float()).abs()
        assert (apart <= exact[name].float().abs() / 16 + 2**-10).all(), name  # half a last place
    served, reference = load_engine("auto", one), ReferenceEngine(one, "cpu")
    batch = [[5, 9, 12, 7], [6] * 20]
    assert np.abs(served.logits(batch) - reference.logits(batch)).max() < 0.15
    assert one.card.evaluation["test"]["mail.tar.gz"]["accuracy"] > 0.9
    again = CliRunner().invoke(app, command(folder, small, tmp_path / "on", "--steps", "1"))
    assert again.exit_code == 0  # and it can be trained on


def test_a_model_s_card_is_written_once_and_its_files_are_hashed_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, opened = hashlib.file_digest, Path.open
    hashed: Counter[Path] = Counter()
    written: Counter[Path] = Counter()

    def counted(file: BinaryIO, *how: Any) -> Any:
        hashed[Path(file.name)] += 1
        return digest(file, *how)

    def watched(path: Path, mode: str = "r", *how: Any, **more: Any) -> Any:
        written[path] += "w" in mode
        return opened(path, mode, *how, **more)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    monkeypatch.setattr(Path, "open", watched)
    file, out = tmp_path / "head.toml", tmp_path / "out"
    file.write_text((folder / "tiny.toml").read_text() + "\n[ngrams]\nbits = 12\n")
    done = CliRunner().invoke(app, command(folder, file, out), catch_exceptions=False)
    assert done.exit_code == 0
    parts = (CONFIG, DRIFT, FAMILIARITY, WEIGHTS, NGRAMS, TOKENIZER)
    assert {path.name: n for path, n in hashed.items() if path.parent == out} == dict.fromkeys(
        parts, 1
    )
    assert (written[out / "winnow.json"], written[out / "README.md"]) == (1, 1)
    monkeypatch.undo()
    assert set(load_artifact(out).card.files) == set(parts)


def test_two_processes_make_one_model(folder: Path, tmp_path: Path) -> None:
    file = recipe(folder, "halves", "accumulate = 1").read_text()
    (folder / "halves.toml").write_text(file.replace("batch_size = 16", "batch_size = 8"))
    arguments = command(folder, folder / "halves.toml", tmp_path / "out")
    torchrun = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m")
    done = run(arguments, *torchrun)
    assert done.returncode == 0, done.stderr
    card = load_artifact(tmp_path / "out").card
    assert card.training["processes"] == 2
    assert card.evaluation["test"]["mail.tar.gz"]["accuracy"] > 0.9
    assert json.loads(done.stdout) == card.evaluation  # told once, by the first process


def test_a_run_that_no_longer_improves_ends_early_and_keeps_its_best(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hyper = "patience = 3\nlabel_smoothing = 0.1\nclass_weights = 'balanced'\naccumulate = 2\n"
    file = recipe(folder, "patient", hyper + "layer_decay = 0.9\nevaluate_steps = 10")
    file.write_text(file.read_text().replace("epochs = 6", "epochs = 200"))
    with caplog.at_level("INFO"):
        card = fit(*command(folder, file, tmp_path / "out")).card
    last = [line for line in caplog.messages if "validation loss" in line][-1]
    step, steps = last.split("step ")[1].split(",")[0].split(" of ")
    assert int(step) < int(steps) / 2
    assert (card.training["patience"], card.training["label_smoothing"]) == (3, 0.1)
    assert card.evaluation["test"]["mail.tar.gz"]["accuracy"] > 0.9


def test_a_run_is_logged_for_tensorboard_and_mlflow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    log = ("--tensorboard", tmp_path / "board", "--mlflow", "--steps", "20")
    fit(*command(folder, folder / "tiny.toml", tmp_path / "out", *log))
    assert list((tmp_path / "board").glob("events.out.tfevents.*"))
    logged = {file.name for file in (tmp_path / "mlruns").rglob("metrics/*")}
    assert {"eval_loss", "eval_macro_f1"} <= logged


def several(number: int) -> tuple[str, str]:
    """A text that gives away which of two labels it has: none, one or both."""
    chance = random.Random(number)
    marks = {label: mark for label, mark in MARKS.items() if chance.random() < 0.5}
    text = chance.choices([*WORDS, *list(marks.values()) * 4], k=16) + list(marks.values())
    return " ".join(text), "|".join(marks)


def test_a_text_can_have_several_labels(folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "several.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        table.writerows(map(several, range(300)))
    tiny = (folder / "tiny.toml").read_text().split("[[sources]]")[0]
    recipe = tmp_path / "several.toml"
    recipe.write_text(
        tiny.replace("max_tokens", 'problem = "multi_label"\nmax_tokens')
        .replace("epochs = 6", "epochs = 12")
        .replace("learning_rate = 0.005", "learning_rate = 0.002")
        + "[ngrams]\nwords = 1\nbits = 12\n[decide]\nfalse_positives = { spam = 0.05 }\n"
        + '[[sources]]\nfile = "several.csv"\nuse = "split"\nterms = "ours"\n'
    )
    given = ("--data", tmp_path, "--encoder", folder / "encoder", "--out", tmp_path / "out")
    card = fit("fit", "--recipe", str(recipe), *map(str, given)).card
    assert card.problem == "multi_label"
    assert set(card.thresholds) == {"ham", "spam"}
    assert set(card.decide_at) == {"spam"}
    assert card.training["ngrams"]["texts"] == card.data[0]["rows"]["train"]
    figures = card.evaluation["test"]["several.csv"]
    assert figures["per_label"]["spam"]["f1"] > 0.9
    assert set(figures["intervals"]) == {"accuracy", "micro_f1", "macro_f1"}
    assert figures["rows"] == card.data[0]["rows"]["test"]


def test_an_encoder_that_reads_less_than_the_recipe_wants_is_refused(folder: Path, tmp_path: Path):
    given = ("--data", folder, "--encoder", folder / "encoder", "--out", tmp_path / "out")
    done = CliRunner().invoke(app, ["fit", "--recipe", "imdb", *map(str, given)])
    assert isinstance(done.exception, ConfigError)
    assert "has only 64 positions: lower it" in str(done.exception)


def test_the_published_recipe_runs_on_a_stand_in(tmp_path: Path) -> None:
    """The real encoder and data cannot be had here: this shows that the recipe's parts fit."""
    place = tmp_path / "stanfordnlp" / "imdb"
    place.mkdir(parents=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    for split, first in (("train", 0), ("test", 5_000)):
        rows = [words(number) for number in range(first, first + 120)]
        columns = {
            "text": [text for _, text in rows],
            "label": [int(label == "spam") for label, _ in rows],
        }
        Dataset.from_dict(columns, features).to_parquet(place / f"{split}.parquet")
    encoder = save_tiny_albert(tmp_path / "encoder", positions=512)
    given = ("--data", tmp_path, "--encoder", encoder, "--out", tmp_path / "out")
    launch = ("accelerate.commands.launch", "--cpu", "--num_processes", "1", "-m")
    done = run(["fit", "--recipe", "imdb", *map(str, given)], *launch)
    assert done.returncode == 0, done.stderr
    artifact = load_artifact(tmp_path / "out")
    card = artifact.card
    assert card.labels == ("negative", "positive")
    hyper = ("epochs", "batch_size", "learning_rate")
    assert [card.training[name] for name in hyper] == [3, 32, 1e-5]
    assert card.evaluation["test"]["stanfordnlp/imdb/test"]["rows"] == 120
    assert "albert-base-v2" not in card.training["encoder"]["origin"]
    assert "# imdb, version 1" in (artifact.path / "README.md").read_text()
    assert resolve(str(artifact.path)).digest == artifact.digest


def test_the_command_names_the_encoder_it_lacks(folder: Path) -> None:
    given = ["--recipe", str(folder / "tiny.toml"), "--data", str(folder), "--out", "nowhere"]
    result = CliRunner().invoke(app, ["fit", *given])
    assert "give --encoder" in str(result.exception)


def test_a_source_may_count_more_than_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "often.toml"
    file.write_text((folder / "tiny.toml").read_text() + "times = 3\n")
    with caplog.at_level("INFO"):
        model = fit(*command(folder, file, tmp_path / "model"), "--steps", "1")
    mail, more, _ = model.card.data
    once, thrice = mail["rows"]["train"], more["rows"]["train"]
    assert (mail["times"], more["times"]) == (1, 3)
    assert model.card.training["rows"] == once + thrice
    assert f"fitting {once + 3 * thrice} texts" in caplog.text


def test_teachers_label_what_nobody_has_labelled(folder: Path, tmp_path: Path) -> None:
    teacher = fit(*command(folder, folder / "tiny.toml", tmp_path / "teacher"))
    rows = [json.dumps({"text": text}) for _, text in map(words, range(5000, 5300))]
    (folder / "nobody.jsonl").write_text("\n".join(rows))
    text = (folder / "tiny.toml").read_text()
    file = tmp_path / "student.toml"
    source = '[[sources]]\nfile = "nobody.jsonl"\nuse = "unlabelled"\nterms = "ours"\n'
    file.write_text(f"{text}\n{source}")
    taught = command(folder, file, tmp_path / "student")
    alone = fit(*command(folder, file, tmp_path / "alone"), "--steps", "1")
    assert alone.card.training["rows"] == teacher.card.training["rows"]
    student = fit(*taught, "--teacher", str(teacher.path), "--teacher", "tfidf")
    assert student.card.training["teachers"] == [str(teacher.path), "tfidf"]
    [accuracy] = [test["accuracy"] for test in student.card.evaluation["test"].values()]
    assert (accuracy if isinstance(accuracy, float) else accuracy["value"]) > 0.9
    other = tmp_path / "other.toml"
    other.write_text(text.replace('["ham", "spam"]', '["spam", "ham"]'))
    refused = CliRunner().invoke(
        app, [*command(folder, other, tmp_path / "x"), "--teacher", str(teacher.path)]
    )
    assert "needs the recipe's labels, in order" in str(refused.exception)
    other.write_text(text.replace("[hyper]", "[augmentation]\ndrop_words = 0.1\n[hyper]"))
    refused = CliRunner().invoke(
        app, [*command(folder, other, tmp_path / "x"), "--teacher", "tfidf"]
    )
    assert "leave out the teacher tfidf" in str(refused.exception)
