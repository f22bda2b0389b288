"""Labelled examples are read as the service reads its records, and test texts stay unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_app.core.errors import ConfigError, SourceError
from stream_app.model.artifact import sha256
from tests.training_data import RECIPE, write_data, write_mail, write_rows
from training.data.corpus import held_out_messages, load_corpus, read_file, read_test
from training.recipe import Recipe, Source
from training.recipes import load_recipe, shipped


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(str(write_data(tmp_path)))


def test_mail_is_read_by_the_codec_of_the_service(tmp_path: Path, recipe: Recipe) -> None:
    encoded = b"Subject: =?utf-8?q?caf=C3=A9?=\nContent-Type: text/html\n\n<p>one</p><p>two</p>"
    write_mail(tmp_path / "m.tar.gz", [("ham", encoded), ("spam", b"no header, so no mail")])
    examples = read_file(tmp_path / "m.tar.gz", recipe.preparation)
    assert [(e.text, e.label) for e in examples] == [("café\none two", "ham")]


def test_rows_are_read_by_the_codec_of_the_service(tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "r.jsonl.gz", [("ham", "  two \n words "), ("spam", "")])
    examples = read_file(tmp_path / "r.jsonl.gz", recipe.preparation)
    assert [(e.text, e.label) for e in examples] == [("two words", "ham")]


def test_the_corpus_is_the_same_each_time_and_says_where_it_is_from(
    tmp_path: Path, recipe: Recipe
) -> None:
    corpus, again = load_corpus(recipe, tmp_path), load_corpus(recipe, tmp_path)
    assert corpus == again
    mail, more, dropped = corpus.lineage
    assert mail["sha256"] == sha256(tmp_path / "mail.tar.gz")
    assert mail["terms"] == "ours"
    assert sum(mail["rows"].values()) == 200
    assert sum(more["rows"].values()) == 150
    assert set(more["rows"]) == {"train", "validation", "unreadable"}
    assert set(dropped) == {"dropped_as_near_duplicates"}


def test_unlabelled_texts_may_be_read_by_the_sentence(tmp_path: Path) -> None:
    text = "It is a good film. Really!<br />I have seen it twice. "
    write_rows(tmp_path / "long.jsonl.gz", [("ham", text), ("ham", "too short"), ("ham", "")])
    source = '[[sources]]\nfile = "long.jsonl.gz"\nuse = "{}"\nsentences = true\nterms = "ours"\n'
    file = tmp_path / "sentences.toml"
    file.write_text(RECIPE + source.format("unlabelled"))
    write_data(tmp_path)
    corpus = load_corpus(load_recipe(str(file)), tmp_path)
    assert [e.text for e in corpus.unlabelled] == ["It is a good film.", "I have seen it twice."]
    assert corpus.lineage[-2]["rows"] == {"unlabelled": 2, "unreadable": 2}
    file.write_text(RECIPE + source.format("train"))
    with pytest.raises(ConfigError, match="sentences are for unlabelled"):
        load_recipe(str(file))


def test_no_test_text_is_trained_on_even_from_another_file(tmp_path: Path, recipe: Recipe) -> None:
    tested = read_test(recipe, tmp_path, recipe.preparation)["mail.tar.gz"]
    copies = [(example.label, example.text.lower() + " .") for example in tested]
    write_rows(
        tmp_path / "more.jsonl.gz", [*copies, ("ham", "this one is nowhere else to be seen")]
    )
    corpus = load_corpus(recipe, tmp_path)
    unseen = {example.text for example in tested}
    learnt = {example.text.removesuffix(" .") for example in corpus.train + corpus.validation}
    assert not unseen & learnt
    assert "this one is nowhere else to be seen" in learnt


def test_the_test_messages_are_named_with_their_labels(tmp_path: Path, recipe: Recipe) -> None:
    named = held_out_messages(recipe, tmp_path)
    assert set(named) == {"mail.tar.gz"}
    assert all(name.split("/")[0] == label for name, label in named["mail.tar.gz"].items())
    assert len(named["mail.tar.gz"]) == len(load_corpus(recipe, tmp_path).test["mail.tar.gz"])


def test_a_test_whose_file_has_to_be_made_first_is_left_out_where_it_is_not(
    tmp_path: Path, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    made = Source(file="made.jsonl", use="split", terms="mine", how_made="docs/mine.md")
    recipe = recipe.model_copy(update={"sources": (*recipe.sources, made)})
    assert set(read_test(recipe, tmp_path, recipe.preparation)) == {"mail.tar.gz"}
    assert caplog.messages == ["without made.jsonl: docs/mine.md tells how to make it"]
    with pytest.raises(SourceError, match=r"does not exist: docs/mine\.md tells how to make it"):
        load_corpus(recipe, tmp_path)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, recipe: Recipe) -> None:
    write_rows(tmp_path / "more.jsonl.gz", [("eggs", "a text")])
    with pytest.raises(SourceError, match=r"more\.jsonl\.gz has labels .*eggs"):
        load_corpus(recipe, tmp_path)
    (tmp_path / "more.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(SourceError, match="cannot be read: BadGzipFile"):
        load_corpus(recipe, tmp_path)
    (tmp_path / "more.jsonl.gz").unlink()
    with pytest.raises(SourceError, match="does not exist"):
        load_corpus(recipe, tmp_path)
    with pytest.raises(SourceError, match="is none of"):
        read_file(tmp_path / "tiny.toml", recipe.preparation)
    write_rows(tmp_path / "empty.jsonl.gz", [])
    with pytest.raises(SourceError, match="no message"):
        read_file(tmp_path / "empty.jsonl.gz", recipe.preparation)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).name == name.removesuffix("-teacher")


def test_a_recipe_may_extend_another(recipe: Recipe, tmp_path: Path) -> None:
    base, more = tmp_path / "tiny.toml", tmp_path / "more.toml"
    more.write_text(
        f'extends = "{base}"\nwithout = ["version"]\nversion = "x"\n[hyper]\nseed = 7\n'
    )
    found = load_recipe(str(more))
    assert found.hyper == recipe.hyper.model_copy(update={"seed": 7})
    assert found.sources == recipe.sources
    more.write_text(f'extends = "{base}"\nwithout = ["hyper"]\n')
    with pytest.raises(ConfigError, match="hyper: Field required"):
        load_recipe(str(more))
    more.write_text(f'extends = "{more}"\n')
    with pytest.raises(ConfigError, match="extends itself"):
        load_recipe(str(more))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (RECIPE.replace("epochs", "epoch"), r"hyper\.epochs"),
        (RECIPE.replace('"develop"', '"study"'), r"sources\.1\.use"),
        ("name =", "not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_key(tmp_path: Path, wrong: str, said: str) -> None:
    (tmp_path / "wrong.toml").write_text(wrong)
    with pytest.raises(ConfigError, match=said):
        load_recipe(str(tmp_path / "wrong.toml"))


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="imdb, news, news-teacher"):
        load_recipe("nonsense")
