"""Kinship: a text counts as a label's by how much of it that label's texts have, pair by pair."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from stream_app.core.errors import ConfigError, ModelError
from stream_app.model.artifact import NGRAMS, load_artifact
from stream_app.model.ngrams import NgramHead, load_head
from tests.tiny_model import save_tiny_albert
from training.fitting.moved_head import Taught, moved
from training.fitting.ngrams import balanced, fit_head
from training.recipe import Ngrams
from training.recipes import load_recipe

GOOD = "see you at lunch on friday and bring the minutes of the last meeting with you please"
SPAM = "buy cheap pills now and save more than half of the price of any shop in your town today"
HOW = Ngrams(words=1, bits=12, kinship=True)
TRUTH = np.array([[True, False]] * 3 + [[False, True]] * 3)


@pytest.fixture
def head() -> NgramHead:
    return fit_head([GOOD] * 3 + [SPAM] * 3, TRUTH, HOW)


def added(head: NgramHead, text: str) -> NDArray[np.float32]:
    """What kinship adds to a text's logits, [labels]."""
    return (head.logits([text]) - dataclasses.replace(head, kin=None).logits([text]))[0]


def test_a_text_counts_by_the_share_of_its_pairs_that_a_label_knows(head: NgramHead) -> None:
    pairs = len(SPAM.split()) - 1
    good, spam = added(head, SPAM)
    assert spam == pytest.approx((pairs / (pairs + 20)) ** 2, abs=1e-6)
    assert good < spam / 10
    assert (added(head, "quarterly tides of an unknown sea") == 0).all()


def test_the_words_of_a_label_in_strange_company_are_worth_little(head: NgramHead) -> None:
    """Ten words of spam in a mail of another kind are the same n-grams, and no kin."""
    inside = " ".join(f"zebra{n} {word}" for n, word in enumerate(SPAM.split()))
    assert added(head, inside)[1] == 0
    half = f"{SPAM} {' '.join(f'zebra{n}' for n in range(len(SPAM.split())))}"
    assert 0 < added(head, half)[1] < added(head, SPAM)[1] / 2


def test_a_few_words_are_kin_to_nothing(head: NgramHead) -> None:
    assert added(head, "buy cheap")[1] < 0.003
    assert (added(head, "buy") == 0).all()


def test_its_strength_is_what_helps_on_held_out_texts(head: NgramHead) -> None:
    texts = [SPAM[at:] for at in range(40)] + [GOOD[at:] for at in range(40)]
    truth = np.repeat([[False, True], [True, False]], 40, axis=0)
    silent = dataclasses.replace(head, scale=head.scale * 0, bias=head.bias * 0)
    noise = np.random.default_rng(1).normal(size=(80, 2)).astype(np.float32)
    helping = balanced(silent, texts, noise, truth, "single_label")
    assert helping.kin is not None
    assert ((noise + helping.logits(texts)).argmax(axis=1) == truth.argmax(axis=1)).all()
    assert balanced(silent, texts, noise, ~truth, "single_label").kin is None


def test_without_a_word_in_the_recipe_there_is_none() -> None:
    assert fit_head([GOOD, SPAM], TRUTH[[0, 3]], Ngrams(bits=12)).kin is None


def test_it_is_for_few_labels(tmp_path: Path) -> None:
    """More would be a model that no worker loads."""
    labels = "\n".join(f'  "label {n}",' for n in range(17))
    (tmp_path / "r.toml").write_text(f'extends = "spam"\nlabels = [\n{labels}\n]\n')
    with pytest.raises(ConfigError, match="kinship is for at most 16 labels"):
        load_recipe(str(tmp_path / "r.toml"))


def test_it_survives_the_file_and_a_move_of_the_head(head: NgramHead, tmp_path: Path) -> None:
    folder = save_tiny_albert(tmp_path)
    stronger = dataclasses.replace(head, kin=dataclasses.replace(head.kin, strength=12.5))
    stronger.save(folder)
    loaded = load_head(load_artifact(folder))
    assert loaded is not None
    assert (loaded.logits([GOOD, SPAM]) == stronger.logits([GOOD, SPAM])).all()
    one = np.ones(1)
    taught = Taught([GOOD], np.zeros((1, 2)), one, np.array([[1.0, 0.0]]), one, "single_label")
    assert (added(moved(loaded, taught, 10), SPAM) == added(loaded, SPAM)).all()


@pytest.mark.parametrize(
    ("tensor", "strength"),
    [
        (np.ones(3, np.int8), "5"),
        (np.ones((2, 2), np.uint8), "5"),
        (np.full(1 << 15, 255, np.uint8), "5"),
        (None, "5"),
        (np.ones(3, np.uint8), "nan"),
        (np.ones(3, np.uint8), "much"),
    ],
)
def test_a_file_with_a_kinship_that_is_none_is_refused(
    tensor: np.ndarray | None, strength: str, head: NgramHead, tmp_path: Path
) -> None:
    folder = save_tiny_albert(tmp_path)
    head.save(folder)
    tensors = load_file(folder / NGRAMS)
    del tensors["kin.1"]
    if tensor is not None:
        tensors["kin.1"] = tensor
    said = {"words": "1", "characters": "", "bits": "12", "power": "0.5", "kinship": strength}
    save_file(tensors, folder / NGRAMS, said)
    with pytest.raises(ModelError, match="is not an n-gram head"):
        load_head(load_artifact(folder))
