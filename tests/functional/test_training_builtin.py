"""The models that are shipped: what they are, and the floors they stand on.

No message of the test parts was trained on: see `training.data.split`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.errors import ModelError
from stream_app.model.artifact import NGRAMS, load_artifact
from stream_app.model.references import BUILTIN, ENCODER, resolve, resolve_folder
from training.data.corpus import Example, read_file, read_test
from training.judging.evaluate import score
from training.judging.figures import measure
from training.recipes import load_recipe

MOST_BYTES = 12 * 2**20  # of ALBERT's weights
MOST_BYTES_IN_ALL = 70 * 2**20


@pytest.mark.parametrize("name", BUILTIN)
def test_each_is_a_small_true_albert(name: str) -> None:
    artifact = resolve(f"builtin:{name}")
    config = json.loads((artifact.path / "config.json").read_bytes())
    # ours is the same with a key more, `pooling`; none of these has it
    assert config["architectures"][0] in ("AlbertForSequenceClassification", "PooledAlbert")
    assert "pooling" not in config
    assert (config["num_hidden_groups"], config["dtype"]) == (1, "float16")
    assert config["embedding_size"] < config["hidden_size"]
    assert (artifact.path / "model.safetensors").stat().st_size <= MOST_BYTES
    shared = artifact.tokenizer == (artifact.path / "../tokenizer").resolve()
    assert shared == (name != "sentiment-multilingual")


def test_the_encoder_is_a_small_true_albert_and_labels_nothing() -> None:
    folder = resolve_folder(ENCODER)
    config = json.loads((folder / "config.json").read_bytes())
    assert (config["architectures"], config["num_hidden_groups"]) == (["AlbertModel"], 1)
    assert (folder / "model.safetensors").stat().st_size <= MOST_BYTES
    with pytest.raises(ModelError, match="make a model with winnow-train fit --examples"):
        resolve(ENCODER)


def test_together_they_stay_small() -> None:
    files = resolve("builtin:spam").path.parent.rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) <= MOST_BYTES_IN_ALL


@pytest.mark.parametrize("name", BUILTIN)
def test_each_has_a_head_that_was_measured_with_and_without(name: str) -> None:
    card = resolve(f"builtin:{name}").card
    assert NGRAMS in card.files
    assert set(card.training["ngrams"]["alone"]) == set(card.evaluation["test"])


@pytest.mark.parametrize("name", BUILTIN)
def test_each_card_says_how_it_was_made_and_under_which_terms(name: str) -> None:
    card, recipe = resolve(f"builtin:{name}").card, load_recipe(name)
    assert (card.name, card.version, card.labels) == (name, recipe.version, recipe.labels)
    files = [source for source in card.data if "file" in source]
    assert [(f["file"], f["terms"]) for f in files] == [(s.file, s.terms) for s in recipe.sources]
    assert all(len(source["sha256"]) == 64 for source in files)
    assert card.training["seed"] == recipe.hyper.seed
    assert recipe.encoder is not None
    assert card.training["encoder"]["sha256"] == recipe.encoder.sha256
    assert card.training["encoder"]["origin"] == recipe.encoder.origin
    assert "not a published ALBERT checkpoint" in recipe.encoder.origin


def figures(name: str, examples: list[Example]) -> dict[str, Any]:
    artifact = resolve(f"builtin:{name}")
    return measure(score(artifact, examples, "reference"), artifact.card)


def test_the_scores_of_short_mails_are_right() -> None:
    """Of test mails cut to 16 tokens or fewer."""
    short = resolve("builtin:spam").card.evaluation["short"]
    assert len(short) == 2
    assert max(found["calibration_error"] for found in short.values()) <= 0.03


@pytest.mark.slow
def test_spam_on_its_fifth_of_spamassassin(shared: Path) -> None:
    file, how = "spam/spamassassin.tar.gz", resolve("builtin:spam").card.preparation
    found = figures("spam", read_test(load_recipe("spam"), shared / "data", how)[file])
    assert found["per_label"]["spam"]["f1"] >= 0.97


def test_reviews_on_sst2_validation(shared: Path) -> None:
    how = resolve("builtin:reviews").card.preparation
    found = figures("reviews", read_file(shared / "data/reviews/sst2_validation.jsonl.gz", how))
    assert found["accuracy_among_present"] >= 0.86


@pytest.mark.slow
def test_reviews_on_a_sample_of_imdb_is_ahead_of_tfidf(shared: Path) -> None:
    file, how = "reviews/imdb_test.jsonl.gz", resolve("builtin:reviews").card.preparation
    found = figures("reviews", read_test(load_recipe("reviews"), shared / "data", how)[file])
    assert found["accuracy_among_present"] >= 0.906


def test_news_on_ag_test(shared: Path) -> None:
    how = resolve("builtin:news").card.preparation
    found = figures("news", read_file(shared / "data/news/agnews_test.jsonl.gz", how))
    assert found["accuracy"] >= 0.918


@pytest.mark.slow
def test_sentiment_multilingual_has_the_figures_of_its_card_in_each_language(shared: Path) -> None:
    """They are of the int8 engine that serves, these of float32."""
    card = resolve("builtin:sentiment-multilingual").card
    tests = read_test(load_recipe(card.name), shared / "data", card.preparation)
    assert len(tests) == 9
    for file, examples in tests.items():
        found = figures(card.name, examples)["macro_f1"]
        assert found == pytest.approx(card.evaluation["test"][file]["macro_f1"], abs=0.005)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    builtin = resolve("builtin:news")
    (tmp_path / "tokenizer").symlink_to(builtin.tokenizer)
    shutil.copytree(builtin.path, tmp_path / "news")
    assert load_artifact(tmp_path / "news").digest == builtin.digest
    with (tmp_path / "news" / "model.safetensors").open("ab") as weights:
        weights.write(b"0")
    with pytest.raises(ModelError, match="does not match its digest"):
        load_artifact(tmp_path / "news")
