"""The n-gram head: the same logits everywhere, in one checked file, added to every engine's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import AlbertForSequenceClassification

from stream_app.core.errors import ModelError
from stream_app.core.messages import Message
from stream_app.engine import load_engine
from stream_app.engine.native_library import find_kernels
from stream_app.model.artifact import NGRAMS, Artifact, load_artifact, write_card
from stream_app.model.decision import albert_shares
from stream_app.model.encoder import Encoder
from stream_app.model.ngrams import Features, NgramHead, load_head
from stream_app.model.tokenizer import Tokenizer
from tests.kernels import COMPILED
from tests.tiny_model import save_tiny_albert
from training.data.corpus import Corpus, Example
from training.fitting.ngrams import add_head, balanced, fit_head, matrix, spanned
from training.judging.evaluate import Scored, score
from training.recipe import Ngrams

TEXTS = [
    "cheap pills now",
    "buy cheap pills",
    "pills! buy now",
    "see you at lunch",
    "lunch at noon",
]
TRUTH = np.array([1, 1, 1, 0, 0])
SMALL = Ngrams(bits=12, strength=100)


def one_hot(truth: Sequence[int] | NDArray[np.int64], labels: int) -> NDArray[np.bool_]:
    return np.eye(labels, dtype=bool)[np.asarray(truth)]


@pytest.fixture
def head() -> NgramHead:
    return fit_head(TEXTS * 3, one_hot(np.tile(TRUTH, 3), 2), SMALL)


@pytest.fixture
def artifact(tmp_path: Path, head: NgramHead) -> Artifact:
    """A tiny sealed model with a head."""
    folder = save_tiny_albert(tmp_path / "model")
    head.save(folder)
    write_card(folder, load_artifact(folder).card)
    return load_artifact(folder)


def test_a_hash_is_the_same_on_every_machine_and_in_every_version():
    words, characters = Features(words=2), Features(words=0, characters=(2, 3))
    assert words.buckets("Buy now!").tolist() == [6178, 64747, 203010, 226930, 236114]
    assert characters.buckets("你好吗").tolist() == [141810, 181448, 229306]


def test_case_and_repetition_do_not_count_and_order_does():
    features = Features(words=2)
    assert features.buckets("BUY now buy NOW").tolist() == features.buckets("buy now buy").tolist()
    assert features.buckets("now buy").tolist() != features.buckets("buy now").tolist()


@given(st.text())
def test_every_text_has_finite_logits_of_its_own(text: str):
    features = Features(words=2, characters=(1, 3), bits=10)
    weights = np.random.default_rng(0).integers(-127, 127, (1024, 3)).astype(np.int8)
    head = NgramHead(features, weights, np.ones(3, np.float32), np.zeros(3, np.float32))
    alone, together = head.logits([text]), head.logits(["other words", text, ""])
    assert np.isfinite(alone).all()
    assert (alone[0] == together[1]).all()
    assert (together[2] == head.bias).all()


def test_a_head_is_the_same_file_every_time(head: NgramHead, tmp_path: Path):
    files = set()
    for _ in range(20):
        head.save(tmp_path)
        files.add((tmp_path / NGRAMS).read_bytes())
    assert len(files) == 1


def test_it_learns_and_says_what_the_regression_says(head: NgramHead):
    assert (head.logits(TEXTS).argmax(axis=1) == TRUTH).all()
    assert head.logits(["cheap pills", "lunch"]).argmax(axis=1).tolist() == [1, 0]
    exact = matrix(TEXTS, head.features) @ (head.weights * head.scale) + head.bias
    np.testing.assert_allclose(head.logits(TEXTS), exact, atol=1e-5)


def test_by_contrast_a_word_that_every_label_has_counts_less():
    texts, truth = ["cheap please", "cheap", "lunch please", "lunch now"] * 5, [1, 1, 0, 0] * 5
    plain, contrast = (
        fit_head(texts, one_hot(truth, 2), Ngrams(words=1, bits=12, by_contrast=power))
        for power in (0.0, 1.0)
    )

    def told(head: NgramHead, text: str) -> float:
        return float(np.ptp(head.logits([text])[0] - head.bias))

    shared, own = (told(contrast, text) / told(plain, text) for text in ("please", "cheap"))
    assert shared < own / 2


def test_who_learns_short_texts_is_less_sure_of_one_word(tmp_path: Path):
    """A word that tells nothing by itself: `offer` begins every text, ham or spam."""
    ham = Example("offer of the meeting on monday with all of the team " * 3, ("ham",))
    spam = Example("offer pills " * 12, ("spam",))
    corpus = Corpus(train=[ham, spam, spam] * 30, validation=[ham, spam] * 10)
    told = []
    for share in (0.0, 1.0):
        artifact = load_artifact(save_tiny_albert(tmp_path / str(share)))
        add_head(artifact, corpus, SMALL.model_copy(update={"short_copies": share}), "reference")
        head = load_head(artifact)
        assert head is not None
        told.append(float(np.ptp(head.logits(["offer"])) / np.ptp(head.logits([spam.text]))))
    assert told[1] < told[0] / 2


def test_a_label_without_texts_does_not_win():
    head = fit_head(TEXTS * 3, one_hot(np.tile(TRUTH, 3), 3), SMALL)
    assert 2 not in head.logits(TEXTS).argmax(axis=1)


def test_texts_without_a_word_in_common_teach_nothing_but_shares():
    head = fit_head(["one", "two", "three"], one_hot([0, 1, 1], 2), SMALL)
    assert head.logits(["one", "four"]).argmax(axis=1).tolist() == [1, 1]


def test_how_much_it_counts_is_what_helps_on_held_out_texts(head: NgramHead):
    truth = np.tile(TRUTH, 20)
    knows = np.eye(2, dtype=np.float32)[truth] * 5
    noise = np.random.default_rng(3).normal(size=(100, 2)).astype(np.float32)
    right = one_hot(truth, 2)
    idle = balanced(head, TEXTS * 20, knows, right, "single_label")
    assert np.abs(idle.scale).max() < head.scale.min()
    helping = balanced(head, TEXTS * 20, noise, right, "single_label")
    assert ((noise + helping.logits(TEXTS * 20)).argmax(axis=1) == truth).all()


def test_where_only_long_texts_can_be_trusted_length_counts(head: NgramHead):
    short, long = ["pills"] * 50 + ["lunch"] * 50, ["pills now " * 9] * 50 + ["lunch at noon"] * 50
    chance = np.random.default_rng(5)
    truth = np.concatenate([chance.integers(0, 2, 100), np.repeat([1, 0], 50)])
    albert = np.zeros((200, 2), np.float32)
    right = one_hot(truth, 2)
    assert balanced(head, short + long, albert, right, "single_label").power < 0.5


def test_the_file_comes_back_as_it_was(artifact: Artifact, head: NgramHead):
    loaded = load_head(artifact)
    assert loaded is not None
    assert loaded.features == head.features
    assert (loaded.logits(TEXTS) == head.logits(TEXTS)).all()


def test_a_model_without_the_file_has_none(tmp_path: Path):
    artifact = load_artifact(save_tiny_albert(tmp_path))
    assert load_head(artifact) is None
    assert Encoder(Tokenizer(artifact), artifact.card.preparation).priors(["a"]) == [None]


def test_the_digest_covers_it(artifact: Artifact, head: NgramHead):
    folder = artifact.path
    assert NGRAMS in artifact.card.files
    dataclasses.replace(head, scale=head.scale * 2).save(folder)
    with pytest.raises(ModelError, match="does not match its digest"):
        load_artifact(folder)
    write_card(folder, artifact.card)
    assert load_artifact(folder).digest != artifact.digest
    (folder / NGRAMS).unlink()
    with pytest.raises(ModelError, match=f"no {NGRAMS}"):
        load_artifact(folder)


def test_transformers_loads_the_folder_as_before(artifact: Artifact):
    AlbertForSequenceClassification.from_pretrained(artifact.path, use_safetensors=True)


def test_a_file_that_is_no_head_is_refused(artifact: Artifact, head: NgramHead):
    (artifact.path / NGRAMS).write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="is not an n-gram head"):
        load_head(artifact)
    narrow = dataclasses.replace(head, weights=head.weights[:, :1])
    narrow.save(artifact.path)
    with pytest.raises(ModelError, match="does not fit the 2 labels"):
        load_head(artifact)


@pytest.mark.parametrize("engine", ["reference", "packed", COMPILED, "fake"])
def test_every_engine_adds_it(artifact: Artifact, head: NgramHead, engine: str):
    loaded = load_engine(engine, artifact, "cpu")
    ids, prior = Tokenizer(artifact).encode(TEXTS), head.logits(TEXTS)
    np.testing.assert_allclose(loaded.logits(ids, prior), loaded.logits(ids) + prior, atol=1e-6)


def test_length_tells_which_of_the_two_is_heard(head: NgramHead):
    """ALBERT is right of short texts and guesses at long ones, which the head knows."""
    chance = np.random.default_rng(5)
    short, long = ["the " + "a " * 9] * 200, TEXTS * 40
    truth = np.concatenate([chance.integers(0, 2, 200), np.tile(TRUTH, 40)])
    right = one_hot(truth, 2)
    logits = chance.normal(size=(400, 2)).astype(np.float32) * 3
    logits[:200] = np.where(right[:200], 3, 0) + chance.normal(size=(200, 2))
    read = np.repeat([10, 200], 200)
    span, served = spanned(head, [*short, *long], Scored(logits, right, read, 0, 1), "single_label")
    assert span
    heard = albert_shares(span, read)[:, None] * logits + served.logits([*short, *long])
    assert (heard.argmax(axis=1) == truth).mean() > (logits.argmax(axis=1) == truth).mean() + 0.1
    everywhere = Scored(logits[:200], right[:200], read[:200], 0, 1)
    assert spanned(head, short, everywhere, "single_label")[0] == 0


def test_int8_looks_at_the_sum(artifact: Artifact):
    """A text that ALBERT finds easy and the sum does not is computed again, and only that."""
    if "int8" not in {p for k in find_kernels() for p in ("int8",) if k.kernel(p)}:
        pytest.skip("the kernels were not compiled, or this CPU has none")
    ids = Tokenizer(artifact).encode(["a good text", "the short text"])
    int8 = load_engine("compiled", artifact, "cpu", "int8")
    float32 = load_engine("compiled", artifact, "cpu", "float32")
    exact = float32.logits(ids)
    far = np.array([[0, 50], [0, 50]], np.float32)
    tie = np.stack([far[0], np.array([exact[1, 1] - exact[1, 0], 0], np.float32)])
    assert (int8.logits(ids, far) != float32.logits(ids, far)).any(axis=1).all()
    same = (int8.logits(ids, tie) == float32.logits(ids, tie)).all(axis=1)
    assert same.tolist() == [False, True]


def test_the_whole_text_counts_though_the_ids_are_cut(artifact: Artifact, head: NgramHead):
    card = artifact.card.model_copy(update={"max_tokens": 4})
    encoder = Encoder(Tokenizer(dataclasses.replace(artifact, card=card)), card.preparation, head)
    start = "a good text " * 50
    calm = encoder.text(Message(body=start))
    loud = encoder.text(Message(body=start + "buy cheap pills now"))
    assert encoder([calm]) == encoder([loud])
    [before], [after] = encoder.priors([calm]), encoder.priors([loud])
    assert before is not None
    assert after is not None
    assert after[1] - after[0] > before[1] - before[0]


def test_evaluation_measures_the_sum(artifact: Artifact, head: NgramHead):
    examples = [
        Example(text, (artifact.card.labels[label],))
        for text, label in zip(TEXTS, TRUTH, strict=True)
    ]
    with_head = score(artifact, examples, "reference", "cpu").logits
    (artifact.path / NGRAMS).unlink()
    without = score(artifact, examples, "reference", "cpu").logits
    np.testing.assert_allclose(with_head, without + head.logits(TEXTS), atol=1e-5)
