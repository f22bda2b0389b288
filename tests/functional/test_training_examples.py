"""`winnow-train fit --examples`: from a table to a model that `winnow classify` serves."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stream_app.__main__ import app as winnow
from stream_app.core.errors import ConfigError
from stream_app.core.settings import RouteSettings
from stream_app.engine import load_engine
from stream_app.model.artifact import load_artifact
from tests.tiny_model import RARE, save_tiny_albert
from tests.training_data import WORDS, words
from training.__main__ import app
from training.data.corpus import Example
from training.judging.evaluate import score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    save_tiny_albert(folder / "encoder")
    rows = [json.dumps({"body": text, "label": label}) for label, text in map(words, range(60))]
    (folder / "mine.jsonl").write_text("\n".join(rows))
    several = [
        {"text": f"{first} {second} {various(number)}", "labels": [x for x in (first, second) if x]}
        for number in range(10)
        for first in ("good", "")
        for second in (RARE, "")
        if first or second
    ]
    (folder / "several.jsonl").write_text("\n".join(map(json.dumps, several)))
    return folder


def various(number: int) -> str:
    """Words, others for each number."""
    return " ".join(random.Random(number).choices(WORDS, k=6))


def fit(folder: Path, file: str, out: str, *more: str) -> Result:
    given = ("--examples", folder / file, "--encoder", folder / "encoder", "--out", folder / out)
    return CliRunner().invoke(app, ["fit", *map(str, given), *more], catch_exceptions=False)


@pytest.fixture(scope="module")
def told(folder: Path) -> str:
    return fit(folder, "mine.jsonl", "My Model").stdout


def test_it_says_what_it_found_and_how_good_the_model_is(told: str) -> None:
    assert told.startswith("60 texts with 2 labels:\n")
    assert "accuracy, by cross-validation: 1.000 (0.940 to 1.000)" in told
    assert "TF-IDF with logistic regression:" in told


def test_what_it_prints_is_a_route(told: str) -> None:
    lines = told.partition("serve it:")[2].partition("run it,")[0]
    (route,) = tomllib.loads("\n".join(map(str.strip, lines.splitlines())))["routes"]
    assert RouteSettings(**route).name == "my-model"


def test_the_model_is_served_as_it_was_measured(folder: Path, told: str) -> None:
    del told
    model = load_artifact(folder / "My Model")
    examples = [Example(text, (label,)) for label, text in map(words, range(500, 540))]
    exact = score(model, examples, "reference")
    assert (exact.logits.argmax(axis=1) == exact.truth.argmax(axis=1)).all()
    assert abs(score(model, examples, "packed").logits - exact.logits).max() < 0.5
    file = folder / "two.txt"
    file.write_text("\n".join(example.text for example in examples[:2]))
    result = CliRunner().invoke(winnow, ["classify", "--model", str(model.path), str(file)])
    labels = [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert labels == [example.label for example in examples[:2]]


def test_the_card_says_what_the_model_is_made_of(folder: Path, told: str) -> None:
    del told
    card = load_artifact(folder / "My Model").card
    (source,) = card.data
    assert (source["file"], source["rows"]) == ("mine.jsonl", {"train": 60})
    assert card.evaluation["test"]["cross-validation"]["accuracy"] == 1.0
    readme = (folder / "My Model" / "README.md").read_text()
    assert "mine.jsonl" in readme
    assert "| 1.0 (0.9404 to 1.0) |" in readme  # the interval that the screen has


def test_too_few_texts_choose_no_bar_and_tell_no_stranger(folder: Path, told: str) -> None:
    card = load_artifact(folder / "My Model").card
    assert (card.decide_at, card.familiar_at) == ({}, None)
    assert "everything is decided" in told
    assert "# min_confidence" in told
    assert "too few different texts" in told


def test_enough_texts_choose_what_is_sure_and_what_is_strange(folder: Path) -> None:
    rows = [*map(words, range(440)), *[("spam", f"{RARE} {n} times, order now") for n in range(5)]]
    lines = [json.dumps({"text": text, "label": label}) for label, text in rows]
    (folder / "many.jsonl").write_text("\n".join(lines))
    result = fit(folder, "many.jsonl", "many")
    assert "4 are near-duplicates of others, or differ in numbers alone" in result.stdout
    assert "decided: " in result.stdout
    assert "# min_confidence" not in result.stdout
    card = load_artifact(folder / "many").card
    assert card.familiar_at == 0.01
    assert card.evaluation["decisions"]["spam"]["most_false_positives"] == 0.01
    text = folder / "strange.txt"
    text.write_text("ganz fremde Wörter hier\n")
    result = CliRunner().invoke(winnow, ["classify", "-m", str(folder / "many"), str(text)])
    assert json.loads(result.stdout)["marks"] == ["unfamiliar"]


def test_bars_that_make_nothing_surer_are_not_set(folder: Path) -> None:
    """Wrong labels that are not to be told apart from right ones push a bar up to no end."""
    other = {"ham": "spam", "spam": "ham"}
    rows = [*map(words, range(400))]
    rows += [(other[label], text) for label, text in map(words, range(1_000, 1_040))]
    lines = [json.dumps({"text": text, "label": label}) for label, text in rows]
    (folder / "noisy.jsonl").write_text("\n".join(lines))
    assert "everything is decided" in fit(folder, "noisy.jsonl", "noisy").stdout
    assert load_artifact(folder / "noisy").card.decide_at == {}


def test_a_table_that_was_learnt_from_is_classified_as_it_is(folder: Path) -> None:
    rows = [f'"{text} für"; {label}; 7' for label, text in map(words, range(40))]
    file = folder / "export.csv"
    file.write_bytes("\r\n".join([" Anfrage ;queue;nr", *rows, ";;"]).encode("windows-1252"))
    fit(folder, file.name, "of a table", "--text-field", "Anfrage", "--label-field", "queue")
    given = ["classify", "--model", str(folder / "of a table")]
    result = CliRunner().invoke(winnow, [*given, str(file)])
    labels = [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert labels == [label for label, _ in map(words, range(40))]
    result = CliRunner().invoke(winnow, [*given, "--text-field", "nr", str(file)])
    assert result.exit_code == 0
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] != labels


def test_a_model_is_not_overwritten(folder: Path, told: str) -> None:
    del told
    with pytest.raises(ConfigError, match="has a model already: name another folder, or delete"):
        fit(folder, "mine.jsonl", "My Model")


def test_texts_may_have_several_labels(folder: Path) -> None:
    result = fit(folder, "several.jsonl", "several")
    assert "30 texts with 2 labels, several to a text" in result.stdout
    assert "accuracy of all labels of a text, by cross-validation: 1.000" in result.stdout
    assert "F1, mean of the labels: 1.000 (1.000 to 1.000)" in result.stdout
    model = load_artifact(folder / "several")
    assert model.card.problem == "multi_label"
    assert set(model.card.thresholds) == {"good", RARE}
    assert "average precision" in (folder / "several" / "README.md").read_text()
    engine = load_engine("auto", model)
    engine.close()
    both = [Example(f"good {RARE} number 77", ("good", RARE))]
    assert (
        score(model, both, "auto").logits.min()
        > score(model, [Example("a number", ())], "auto").logits.max()
    )


def test_a_label_is_acted_on_from_a_score_that_few_others_reach(folder: Path) -> None:
    result = fit(folder, "several.jsonl", "barred", "--false-positives", "0.1")
    card = load_artifact(folder / "barred").card
    assert set(card.decide_at) == {"good", RARE}
    assert "good is decided from 0." in result.stdout
    assert "min_confidence" not in result.stdout
    told = card.evaluation["decisions"]["good"]["every_second_text"]["examples"]
    assert told["false_positive_rate"]["of"] == 10
    given = ("--recipe", "spam", "--false-positives", "0.1", "--out", str(folder / "x"))
    with pytest.raises(ConfigError, match=r"a recipe says it in \[decide\]"):
        CliRunner().invoke(app, ["fit", *given], catch_exceptions=False)


def test_texts_without_spaces_are_read_by_their_characters(folder: Path) -> None:
    rows = [
        {"text": f"这家酒店很{word}。{thing}也一样。下次还会考虑的", "label": label}
        for thing in ("房间", "早餐", "服务", "位置", "大堂", "浴室", "电梯", "前台")
        for word, label in (("好", "good"), ("差", "bad"))
    ]
    (folder / "unspaced.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "languages: zh 16" in fit(folder, "unspaced.jsonl", "unspaced").stdout
    model = load_artifact(folder / "unspaced")
    assert model.card.training["ngrams"]["characters"] == [1, 2, 3]
    unseen = [Example(f"早餐很{word}", (label,)) for word, label in (("好", "good"), ("差", "bad"))]
    scored = score(model, unseen, "auto")
    assert (scored.logits.argmax(axis=1) == scored.truth.argmax(axis=1)).all()


def test_a_label_whose_texts_are_nearly_one_is_named(folder: Path) -> None:
    alike = [f"{number} of {WORDS[0]}" for number in range(3)]
    rows = [{"text": text, "label": "x"} for text in alike]
    rows += [{"text": f"good {word}", "label": "y"} for word in WORDS]
    (folder / "alike.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ConfigError, match="the examples of 'x' are nearly one text"):
        fit(folder, "alike.jsonl", "alike")


def test_options_that_do_not_go_together_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="either --examples FILE, or --recipe NAME"):
        fit(folder, "mine.jsonl", "x", "--recipe", "spam")
    with pytest.raises(ConfigError, match="are for --recipe"):
        fit(folder, "mine.jsonl", "x", "--steps", "3")
    with pytest.raises(ConfigError, match="needs --config"):
        fit(folder, "mine.jsonl", "x", "--feedback", "mine")
