"""The same labelled texts from every format."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from typer.testing import CliRunner

from stream_app.core.errors import ConfigError, SourceError
from stream_app.model.preparation import Preparation
from tests.tiny_model import save_tiny_albert
from training.__main__ import app
from training.data.corpus import load_corpus, read_file
from training.data.readers import READERS, Raw, Reader, read_source
from training.recipe import Hyper, Recipe, Source

ROWS = [('one, with "quotes"\nand lines', "ham"), ("two", "spam"), ("drei ✓", "spam")]


def write(folder: Path, name: str) -> None:
    rows = [{"id": f"r{n}", "text": text, "label": label} for n, (text, label) in enumerate(ROWS)]
    file = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), file)
        return
    with gzip.open(file, "wt") if name.endswith(".gz") else file.open("w") as out:
        if ".csv" in name:
            table = csv.DictWriter(out, ["id", "text", "label"])
            table.writeheader()
            table.writerows(rows)
        else:
            out.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet"])
def test_every_format_gives_the_same_examples(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    examples = read_file(tmp_path / name, Preparation())
    assert [(e.text, e.label) for e in examples] == [
        ('one, with "quotes" and lines', "ham"),
        ("two", "spam"),
        ("drei ✓", "spam"),
    ]
    source = Source(file=name, use="train", terms="ours")
    assert [raw.name for raw in read_source(source, tmp_path)] == ["r0", "r1", "r2"]


def save_dataset(folder: Path) -> None:
    """A folder laid out as the hub lays out a dataset, classes as numbers."""
    folder.mkdir(parents=True)
    features = Features({"review": Value("string"), "class": ClassLabel(names=["neg", "pos"])})
    for split in ("train", "test"):
        rows = {"review": [f"{split} one", f"{split} two"], "class": [1, 0]}
        Dataset.from_dict(rows, features).to_parquet(folder / f"{split}-00000.parquet")


def test_a_hugging_face_dataset_is_read_by_split_and_its_classes_by_name(tmp_path: Path) -> None:
    save_dataset(tmp_path / "org" / "reviews")
    source = Source(
        dataset="org/reviews",
        dataset_split="test",
        use="test",
        terms="ours",
        text_field="review",
        label_field="class",
        rename={"pos": "good", "neg": "bad"},
    )
    found = list(read_source(source, tmp_path))
    assert [raw.labels for raw in found] == [("good",), ("bad",)]
    assert json.loads(found[0].value)["text"] == "test one"
    wrong = source.model_copy(update={"label_field": "label"})
    with pytest.raises(ConfigError, match="no column label"):
        list(read_source(wrong, tmp_path))
    missing = source.model_copy(update={"dataset_split": "validation"})
    with pytest.raises(SourceError, match="split validation, could not be loaded"):
        list(read_source(missing, tmp_path))


def test_a_text_may_have_several_labels_or_none(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": []}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "m.csv").write_text("text,label\na,x|y\nb,\n")
    for name in ("m.jsonl", "m.csv"):
        assert [e.labels for e in read_file(tmp_path / name, Preparation())] == [("x", "y"), ()]
    recipe = Recipe(
        name="m",
        version="1",
        description="",
        labels=("x", "y"),
        max_tokens=8,
        hyper=Hyper(epochs=1, batch_size=1, learning_rate=1),
        sources=(Source(file="m.csv", use="train", terms="ours"),),
    )
    with pytest.raises(SourceError, match="multi_label"):
        load_corpus(recipe, tmp_path)
    corpus = load_corpus(recipe.model_copy(update={"problem": "multi_label"}), tmp_path)
    assert corpus.lineage[0]["labels"] == {"train": {"x": 1, "y": 1}}


def test_a_sample_keeps_the_share_of_each_label_and_grows_by_adding(tmp_path: Path) -> None:
    lines = [f"text {n},{'rare' if n % 10 == 0 else 'common'}" for n in range(400)]
    (tmp_path / "s.csv").write_text("\n".join(["text,label", *lines]))
    hyper = Hyper(epochs=1, batch_size=1, learning_rate=1)
    taken = {}
    for rows in (50, 100):
        source = Source(file="s.csv", use="train", terms="ours", rows=rows)
        recipe = Recipe(
            name="s",
            version="1",
            description="",
            labels=("rare", "common"),
            max_tokens=8,
            hyper=hyper,
            sources=(source,),
        )
        corpus = load_corpus(recipe, tmp_path)
        assert corpus.lineage[0]["labels"]["train"] == {
            "common": rows * 9 // 10,
            "rare": rows // 10,
        }
        taken[rows] = {example.text for example in corpus.train}
    assert taken[50] < taken[100]


def test_language_and_source_stay_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("text,label,language\na,x,de\nb,x,\n")
    assert [e.language for e in read_file(tmp_path / "l.csv", Preparation())] == ["de", ""]
    assert {e.source for e in read_file(tmp_path / "l.csv", Preparation())} == {"l.csv"}


def read_tabs(file: Path, source: Source) -> Iterator[Raw]:
    for number, line in enumerate(file.read_text().splitlines()):
        label, text = line.split("\t")
        yield Raw(f"line {number}", (label,), text.encode())


@pytest.mark.parametrize(
    ("codec", "written"), [("json", '{"text": "a text"}'), ("rfc822", "Subject: a  text")]
)
def test_a_format_of_training_data_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, written: str
) -> None:
    monkeypatch.setitem(READERS, ".tabs", Reader(read_tabs, codec))
    (tmp_path / "new.tabs").write_text(f"ham\t{written}\nspam\t{written}\n")
    assert [e.text for e in read_file(tmp_path / "new.tabs", Preparation())] == ["a text"] * 2
    model = save_tiny_albert(tmp_path / "model")
    options = ("--model", str(model), "--data", str(tmp_path / "new.tabs"))
    told = CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
    assert json.loads(told.stdout)["test"]["new.tabs"]["rows"] == 2
    recipe = 'labels = ["ham", "spam"]\nmax_tokens = 8\nname = "n"\nversion = "1"\n'
    recipe += 'description = ""\nhyper = { epochs = 1, batch_size = 1, learning_rate = 1 }\n'
    recipe += 'sources = [{ file = "new.tabs", use = "test", terms = "ours" }]\n'
    (tmp_path / "new.toml").write_text(recipe)
    options = ("--list", "--recipe", str(tmp_path / "new.toml"), "--data", str(tmp_path))
    named = CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
    assert json.loads(named.stdout) == {"new.tabs": {"line 0": "ham", "line 1": "spam"}}
    with pytest.raises(SourceError, match=r"is none of .*\.tabs"):
        read_file(tmp_path / "new.toml", Preparation())


def test_a_recipe_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = "1"\ndescription = ""\nlabels = ["ham", "spam"]\nmax_tokens = 8\n'
        "hyper = { epochs = 1, batch_size = 1, learning_rate = 1 }\n"
        'sources = [{ file = "a.csv", use = "test", terms = "ours" }]\n'
    )
    (tmp_path / "a.csv").write_text("text,label\na text,ham\n")
    monkeypatch.setattr("training.recipes._SHIPPED", tmp_path)  # the folder with its file
    options = ("--list", "--recipe", "mine", "--data", str(tmp_path))
    named = CliRunner().invoke(app, ["evaluate", *options], catch_exceptions=False)
    assert list(json.loads(named.stdout)["a.csv"].values()) == ["ham"]
