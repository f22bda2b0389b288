"""Every engine against transformers: random configurations, mixed lengths, the built-in models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertConfig, AlbertForSequenceClassification

from stream_app.core.errors import EngineError, ModelError
from stream_app.engine import load_engine
from stream_app.engine.packed_cpu import PackedCpuEngine, length_groups, micro_batches
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.artifact import Artifact, load_artifact
from stream_app.model.references import BUILTIN, resolve
from stream_app.model.tokenizer import Tokenizer
from tests.tiny_model import save_tiny_albert

VOCABULARY = 50
SHAPES = [
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 3, "hidden_act": "gelu"},
    {"num_hidden_layers": 4, "num_hidden_groups": 2, "hidden_act": "gelu_new"},
    {"num_hidden_layers": 2, "inner_group_num": 2},
    {"num_hidden_layers": 6, "num_hidden_groups": 3, "inner_group_num": 2, "num_labels": 5},
    {"num_hidden_layers": 2, "num_attention_heads": 1, "embedding_size": 24},
]


def random_model(folder: Path, **shape: object) -> Artifact:
    """A random ALBERT with biases that are not zero, so that a forgotten one shows."""
    save_tiny_albert(folder)
    torch.manual_seed(1)
    sizes = {"embedding_size": 8, "hidden_size": 24, "num_attention_heads": 4, "num_labels": 2}
    config = AlbertConfig(
        vocab_size=VOCABULARY,
        intermediate_size=48,
        max_position_embeddings=64,
        **sizes | shape,
    )
    model = AlbertForSequenceClassification(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    return load_artifact(folder)


def texts(lengths: list[int]) -> list[list[int]]:
    rng = np.random.default_rng(len(lengths))
    return [rng.integers(4, VOCABULARY, length).tolist() for length in lengths]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_is_the_reference_to_the_last_digits(tmp_path: Path, shape: dict[str, object]):
    artifact = random_model(tmp_path, **shape)
    batch = texts([1, 64, 2, 7, 7, 7, 30, 64, 1, 13])
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    assert np.abs(PackedCpuEngine(artifact, torch.float32).logits(batch) - expected).max() <= 1e-4


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> PackedCpuEngine:
    artifact = random_model(tmp_path_factory.mktemp("packed"), num_hidden_layers=2)
    return PackedCpuEngine(artifact, torch.float32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 64), max_size=40))
def test_a_text_in_a_batch_is_the_same_text_alone(engine: PackedCpuEngine, lengths: list[int]):
    batch = texts(lengths)
    together = engine.logits(batch)
    assert together.shape == (len(lengths), 2)
    for row, ids in zip(together, batch, strict=True):
        assert np.abs(row - engine.logits([ids])[0]).max() <= 1e-5


@given(st.lists(st.integers(1, 3000), max_size=60))
def test_micro_batches_hold_every_text_once_within_the_budget(lengths: list[int]):
    runs = micro_batches(lengths)
    assert sorted(index for run in runs for index in run) == list(range(len(lengths)))
    for run in runs:
        assert len(run) == 1 or sum(lengths[index] for index in run) <= 1024
        ordered = [lengths[index] for index in run]
        groups = length_groups(ordered)
        assert [g.length for g in groups for _ in range(g.count)] == ordered
        assert sum(g.count * g.length for g in groups) == sum(ordered)


def test_auto_is_packed_for_what_it_can_run_and_else_the_reference(tmp_path: Path):
    known = random_model(tmp_path / "known", num_hidden_layers=2)
    other = random_model(tmp_path / "other", hidden_act="relu")
    assert isinstance(load_engine("auto", known, "cpu"), PackedCpuEngine)
    assert isinstance(load_engine("auto", other, "cpu"), ReferenceEngine)
    with pytest.raises(ModelError, match="computes in float32"):
        load_engine("reference", known, "cpu", "bfloat16")


def test_what_it_cannot_do_reaches_the_caller(engine: PackedCpuEngine, tmp_path: Path):
    with pytest.raises(EngineError):
        engine.logits([[VOCABULARY + 1]])
    with pytest.raises(EngineError):
        engine.logits([[5] * 65])
    with pytest.raises(ModelError, match="The reference engine runs any"):
        PackedCpuEngine(random_model(tmp_path, hidden_act="relu"), torch.float32)


SENTENCES = [
    "Win a free prize now, click here!!!",
    "Minutes of Monday's meeting are attached.",
    "A dull, lifeless film.",
    "Shares fell after the company cut its forecast.",
    "ok",
    "The striker scored twice in the final. " * 30,
]


@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_models_keep_their_labels(name: str):
    artifact = resolve(f"builtin:{name}")
    batch = Tokenizer(artifact).encode(SENTENCES)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    exact = PackedCpuEngine(artifact, torch.float32).logits(batch)
    assert np.abs(exact - expected).max() <= 1e-4
    close = PackedCpuEngine(artifact, torch.bfloat16).logits(batch)
    assert np.abs(close - expected).max() <= 0.25
