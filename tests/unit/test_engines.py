"""Every backend in every precision against transformers: random configurations, lengths, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AlbertConfig, AlbertForSequenceClassification

from stream_app.core.errors import EngineError, ModelError
from stream_app.engine import load_engine
from stream_app.engine.compiled import CompiledEngine, too_close
from stream_app.engine.native_library import PRECISIONS, find_kernels
from stream_app.engine.packed_cpu import (
    PackedCpuEngine,
    has_bfloat16,
    length_groups,
    micro_batches,
)
from stream_app.engine.packed_cuda import PackedCudaEngine
from stream_app.engine.packing import Packed
from stream_app.engine.protocol import Engine
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.artifact import Artifact, ModelCard, load_artifact
from stream_app.model.decision import albert_shares, lengths
from stream_app.model.references import BUILTIN, resolve
from stream_app.model.tokenizer import Tokenizer
from tests.kernels import needs_kernels
from tests.stand_in_gpu import StandIn
from tests.tiny_model import save_tiny_albert

VOCABULARY = 50
SHAPES = [
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 3, "hidden_act": "gelu"},
    {"num_hidden_layers": 4, "num_hidden_groups": 2, "hidden_act": "gelu_new"},
    {"num_hidden_layers": 2, "inner_group_num": 2},
    {"num_hidden_layers": 6, "num_hidden_groups": 3, "inner_group_num": 2, "num_labels": 5},
    {"num_hidden_layers": 2, "num_attention_heads": 1, "embedding_size": 24},
    {"num_hidden_layers": 2, "hidden_size": 192, "num_attention_heads": 2, "num_labels": 40},
    {"num_hidden_layers": 2, "pooling": "mean"},
    {"num_hidden_layers": 1, "pooling": "mean", "num_labels": 5},
]
MIXED = [1, 64, 2, 7, 7, 7, 30, 64, 1, 13]
KERNELS = {str(kernels): kernels for kernels in find_kernels()}
# how far a logit may be off: on random shapes, and on the built-in models
TOLERANCE = {"float32": (2e-5, 1e-4), "bfloat16": (0.05, 0.1), "int8": (0.15, 0.75)}
BACKENDS: Mapping[str, Callable[[Artifact], Engine]] = {
    "packed float32": partial(PackedCpuEngine, dtype=torch.float32),
    **(
        {"packed bfloat16": partial(PackedCpuEngine, dtype=torch.bfloat16)}
        if has_bfloat16()
        else {}
    ),
    "cuda float32": lambda artifact: PackedCudaEngine(artifact, StandIn(), torch.float32),
    "cuda bfloat16": lambda artifact: PackedCudaEngine(artifact, StandIn(), torch.bfloat16),
    **{
        f"{name} {precision}": partial(
            CompiledEngine, kernels=kernels, precision=precision, threads=2
        )
        for name, kernels in KERNELS.items()
        for precision in PRECISIONS
        if kernels.kernel(precision)
    },
}
every_backend = pytest.mark.parametrize("backend", BACKENDS)


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
    noise = 1 / config.hidden_size**0.5  # more, and a softmax makes rounding errors large
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * noise)
    model.save_pretrained(folder)
    return load_artifact(folder)


def texts(lengths: list[int]) -> list[list[int]]:
    rng = np.random.default_rng(len(lengths))
    return [rng.integers(4, VOCABULARY, length).tolist() for length in lengths]


def tolerance(backend: str, *, trained: bool) -> float:
    return TOLERANCE[backend.split()[-1]][trained]


@every_backend
def test_the_longer_a_text_the_less_albert_counts(tmp_path: Path, backend: str):
    artifact, batch = random_model(tmp_path), texts(MIXED)
    prior = np.random.default_rng(3).normal(size=(len(batch), 2)).astype(np.float32)
    card = artifact.card.model_copy(update={"span": 20.0})
    spanning = BACKENDS[backend](dataclasses.replace(artifact, card=card))
    alone = ReferenceEngine(artifact, "cpu").logits(batch)
    heard = alone * albert_shares(20.0, lengths(batch))[:, None]
    assert np.abs(alone - heard).max() > 0.1, "it shows"
    for said, expected in (
        (spanning.logits(batch), heard),
        (spanning.logits(batch, prior), heard + prior),
    ):
        assert np.abs(said - expected).max() <= tolerance(backend, trained=False)


@every_backend
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_the_references(tmp_path: Path, backend: str, shape: dict[str, object]):
    artifact = random_model(tmp_path, **shape)
    batch = texts(MIXED)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    logits = BACKENDS[backend](artifact).logits(batch)
    spread = max(1.0, float(np.abs(expected).max()))
    assert np.abs(logits - expected).max() <= tolerance(backend, trained=False) * spread


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return random_model(tmp_path_factory.mktemp("two"), num_hidden_layers=2)


@every_backend
def test_a_text_in_a_batch_is_the_same_text_alone(two_layers: Artifact, backend: str):
    engine = BACKENDS[backend](two_layers)
    # the compiled kernels promise it to the last bit, so that a replay gives the same label
    apart = 0.0 if isinstance(engine, CompiledEngine) else tolerance(backend, trained=False)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(1, 64), max_size=20))
    def check(lengths: list[int]) -> None:
        batch = texts(lengths)
        together = engine.logits(batch)
        assert together.shape == (len(lengths), 2)
        for row, ids in zip(together, batch, strict=True):
            assert np.abs(row - engine.logits([ids])[0]).max() <= apart

    check()
    engine.close()


@every_backend
def test_what_it_cannot_do_reaches_the_caller(two_layers: Artifact, backend: str, tmp_path: Path):
    engine = BACKENDS[backend](two_layers)
    for bad in ([VOCABULARY + 1], [-1], [5] * 65, []):
        with pytest.raises(EngineError):
            engine.logits([[5], bad])
    with pytest.raises(ModelError, match="The reference engine runs any"):
        BACKENDS[backend](random_model(tmp_path, hidden_act="relu"))


SENTENCES = [
    "Win a free prize now, click here!!!",
    "Minutes of Monday's meeting are attached.",
    "A dull, lifeless film.",
    "Shares fell after the company cut its forecast.",
    "ok",
    "The striker scored twice in the final. " * 30,
]


@every_backend
@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_models_keep_their_labels(name: str, backend: str):
    artifact = resolve(f"builtin:{name}")
    batch = Tokenizer(artifact).encode(SENTENCES)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    logits = BACKENDS[backend](artifact).logits(batch)
    assert np.abs(logits - expected).max() <= tolerance(backend, trained=True)
    assert logits.argmax(1).tolist() == expected.argmax(1).tolist()


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


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(0, 400))
def test_runs_hold_every_text_once_within_the_budget(lengths: list[int], budget: int):
    ids = np.arange(sum(lengths), dtype=np.int32)
    runs = Packed(ids, np.array(lengths, np.int32)).runs(budget)
    assert [i for rows, _ in runs for i in range(len(lengths))[rows]] == list(range(len(lengths)))
    assert [i for _, texts in runs for i in texts.ids.tolist()] == ids.tolist()
    for rows, texts in runs:
        assert texts.lengths.tolist() == lengths[rows]
        assert len(texts.lengths) == 1 or len(texts.ids) <= budget


def test_auto_is_the_best_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = random_model(tmp_path / "known", num_hidden_layers=2)
    other = random_model(tmp_path / "other", hidden_act="relu")
    assert isinstance(load_engine("auto", other, "cpu"), ReferenceEngine)
    best = CompiledEngine if KERNELS else PackedCpuEngine
    assert isinstance(load_engine("auto", known, "cpu"), best)
    monkeypatch.setattr("stream_app.engine.find_kernels", list)
    assert isinstance(load_engine("auto", known, "cpu"), PackedCpuEngine)


@pytest.mark.parametrize(
    ("name", "device", "precision", "says"),
    [
        ("reference", "cpu", "bfloat16", "computes in float32"),
        ("packed", "cpu", "int8", "there are: float32, bfloat16"),
        pytest.param(
            "packed",
            "cpu",
            "bfloat16",
            "no bfloat16 on this CPU",
            marks=pytest.mark.skipif(has_bfloat16(), reason="this CPU has it"),
        ),
        pytest.param("compiled", "cpu", "float16", "there are: float32", marks=needs_kernels),
        pytest.param("compiled", "cuda", "auto", "runs on the CPU", marks=needs_kernels),
    ],
)
def test_what_a_backend_lacks_is_said(
    two_layers: Artifact, name: str, device: str, precision: str, says: str
):
    with pytest.raises(ModelError, match=says):
        load_engine(name, two_layers, device, precision)


def test_without_kernels_the_compiled_engine_says_what_to_do(
    two_layers: Artifact, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stream_app.engine.compiled.find_kernels", list)
    with pytest.raises(ModelError, match='backend = "auto"'):
        load_engine("compiled", two_layers, "cpu")


@needs_kernels
@pytest.mark.parametrize("agreement", [None, 0.99, 0.998])
def test_int8_is_chosen_only_where_it_was_measured_to_keep_the_labels(
    two_layers: Artifact, agreement: float | None, caplog: pytest.LogCaptureFixture
):
    card = two_layers.card.model_copy(update={"int8_agreement": agreement})
    with caplog.at_level("INFO"):
        load_engine("compiled", dataclasses.replace(two_layers, card=card), "cpu")
    assert ("int8" in caplog.text) == (agreement == 0.998)


def test_what_is_too_close_for_int8_is_computed_again():
    logits = np.array([[1.0, 1.05, -3.0], [1.0, 2.0, 0.0], [0.0, -0.02, 0.01]], np.float32)
    card, ten = ModelCard(name="x", version="1", labels=("a", "b", "c")), np.array([10, 10, 10])
    assert too_close(logits, card, ten).tolist() == [True, False, True]
    many = card.model_copy(
        update={"problem": "multi_label", "thresholds": {"a": 0.7310586}, "temperature": 2.0}
    )
    logits = np.array([[1.98, 1.0, -3.0], [1.0, 2.0, 1.0], [0.5, -0.02, 1.0]], np.float32)
    assert too_close(logits, many, ten).tolist() == [True, False, True]


def test_int8_computes_again_what_lies_near_a_decision():
    """An edge of 0.9 is at log(9) = 2.1972, times the temperature, times 1 + evidence / length."""
    card = ModelCard(name="x", version="1", labels=("ham", "spam"), decide_at={"spam": 0.9})
    hot = card.model_copy(update={"temperature": 2.0, "evidence": 10.0})
    margins = np.array([2.15, 2.25, 2.4, -2.2, 4.35, 6.55], np.float32)
    logits = np.stack([0 * margins, margins], axis=1)
    ten = np.full(6, 10)
    assert too_close(logits, card, ten).tolist() == [True, True, False, False, False, False]
    at = np.array([10, 10, 10, 10, 10**9, 20])  # the edges of the last two: 4.394 and 6.592
    assert too_close(logits, hot, at).tolist() == [False, False, False, False, True, True]
    two = np.array([[0.0, 1.0, 3.0]], np.float32)  # e^3 / (e^3 + e^1 + e^0) = 0.8438
    three = ModelCard(name="x", version="1", labels=("a", "b", "c"), decide_at={"c": 0.84})
    assert too_close(two, three, ten[:1]).tolist() == [True]
    assert too_close(two, three.model_copy(update={"decide_at": {"c": 0.9}}), ten[:1]).any() == 0
    many = three.model_copy(update={"problem": "multi_label", "decide_at": {"c": 0.95}})
    assert too_close(two, many, ten[:1]).tolist() == [True]  # log(0.95 / 0.05) = 2.944
    other = many.model_copy(update={"decide_at": {"b": 0.73}})  # at a logit of 0.9946
    assert too_close(two, other, ten[:1]).tolist() == [True], "each label has a bar of its own"
    sure = {"a": 0.0, "b": 1.0, "c": 1.0}
    assert not too_close(two, three.model_copy(update={"decide_at": sure}), ten[:1]).any()
