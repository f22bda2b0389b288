"""The CUDA engine, on CPU tensors as far as they go: the same code, but for kernels and graphs."""

from __future__ import annotations

import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from stream_app.core.errors import EngineError, ModelError, OutOfMemory
from stream_app.engine import packed_cuda, packed_cuda_model
from stream_app.engine.gpu import POOL, Graph
from stream_app.engine.packed_cuda import RUN_TOKENS, PackedCudaEngine, graph_tokens
from stream_app.engine.packed_cuda_model import Shape, lay_out
from stream_app.engine.packing import Packed, pack
from stream_app.model.artifact import Artifact
from tests.stand_in_gpu import StandIn
from tests.unit.test_engines import MIXED, VOCABULARY, random_model, texts


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    # a head size that every attention kernel takes
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_labels": 3}
    return random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=3, **sizes)


@pytest.fixture(scope="module")
def engine(artifact: Artifact) -> PackedCudaEngine:
    return PackedCudaEngine(artifact, StandIn(), torch.float32)


@pytest.fixture
def graphed(artifact: Artifact) -> PackedCudaEngine:
    """An engine whose graphs are the forward itself, run again at each replay."""
    engine = PackedCudaEngine(artifact, StandIn(), torch.float32)
    for shape in (Shape(128, 8, 64), Shape(256, 16, 64)):
        engine._graphs[shape] = eager_graph(engine, shape)
    return engine


def eager_graph(engine: PackedCudaEngine, shape: Shape) -> Graph:
    logits = torch.zeros((shape.texts, len(engine.labels)))

    def replay() -> None:
        logits.copy_(engine._model(engine._input[: shape.packed], shape))

    return Graph(replay, logits)


def difference(engine: PackedCudaEngine, expected: np.ndarray, batch: list[list[int]]) -> float:
    return float(np.abs(engine.logits(batch) - expected).max())


def test_a_large_batch_is_several_forwards(artifact: Artifact, monkeypatch: pytest.MonkeyPatch):
    batch = texts(MIXED * 3)
    expected = PackedCudaEngine(artifact, StandIn(), torch.float32).logits(batch)
    monkeypatch.setattr(packed_cuda, "RUN_TOKENS", 70)
    several = PackedCudaEngine(artifact, StandIn(), torch.float32)
    assert several.computed_tokens(batch) == sum(MIXED) * 3
    assert difference(several, expected, batch) <= 1e-5


def test_a_graph_holds_more_than_its_texts(graphed: PackedCudaEngine, engine: PackedCudaEngine):
    few, some, many = texts([5, 64, 1]), texts(MIXED), texts([1] * 17)
    assert graphed.computed_tokens(few) == 128
    assert graphed.computed_tokens(some) == 256
    assert graphed.computed_tokens(many) == 17  # more texts than any graph has
    assert graphed.computed_tokens(texts([64] * 5)) == 320  # more tokens
    assert graphed.computed_tokens([]) == engine.computed_tokens([]) == 0
    for batch in (some, few, many, few):  # what the last batch left behind does not show
        assert difference(graphed, engine.logits(batch), batch) <= 1e-5


def test_rows_of_no_text_are_nothing_to_the_others(engine: PackedCudaEngine):
    batch, shape = texts([5, 30, 1]), Shape(64, 6, 64)
    expected = engine.logits(batch)
    for filler in (0, VOCABULARY - 1):
        packed = np.zeros(shape.packed, np.int32)
        lay_out(pack(batch, VOCABULARY, 64), shape, packed)
        packed[36:64] = filler
        with torch.inference_mode():
            rows = engine._model(torch.from_numpy(packed), shape)[:3]
        assert np.abs(rows.numpy() - expected).max() <= 1e-5


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(0, 9), st.integers(0, 9))
def test_pack_says_where_every_token_lies(lengths: list[int], more_tokens: int, more_texts: int):
    total, count = sum(lengths), len(lengths)
    shape = Shape(total + more_tokens, count + more_texts, max(lengths))
    out = np.full(shape.packed, -1, np.int32)
    lay_out(Packed(np.arange(total) + 4, np.array(lengths)), shape, out)
    ids, places, bounds = np.split(out, [shape.tokens, 2 * shape.tokens])
    assert ids.tolist() == [*range(4, total + 4), *[0] * more_tokens]
    assert places.tolist() == [p for n in lengths for p in range(n)] + [0] * more_tokens
    assert np.diff(bounds).tolist() == lengths + [0] * more_texts
    assert bounds[0] == 0


def varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    query_longest: int,
    key_longest: int,
) -> torch.Tensor:
    """What torch's kernel promises, text by text; rows of no text are never written."""
    assert query_bounds.dtype == key_bounds.dtype == torch.int32
    assert query_bounds.diff().max() <= query_longest
    assert key_bounds.diff().max() <= key_longest
    out = torch.full_like(query, torch.nan)
    for rows, columns in zip(pairs(query_bounds), pairs(key_bounds), strict=True):
        q, k, v = (x.transpose(0, 1) for x in (query[rows], key[columns], value[columns]))
        out[rows] = scaled_dot_product_attention(q, k, v).transpose(0, 1)
    return out


def pairs(bounds: torch.Tensor) -> list[slice]:
    return [slice(start, end) for start, end in pairwise(bounds.tolist())]


def test_flash_attention_is_asked_for_the_same(
    artifact: Artifact, engine: PackedCudaEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packed_cuda_model, "varlen_attn", varlen)
    flash, batch = PackedCudaEngine(artifact, StandIn(""), torch.float32), texts(MIXED)
    assert difference(flash, engine.logits(batch), batch) <= 1e-5
    shape = Shape(256, 16, 64)
    flash._graphs[shape] = eager_graph(flash, shape)
    assert flash.computed_tokens(batch) == 256
    assert difference(flash, engine.logits(batch), batch) <= 1e-5


def test_capture_that_fails_leaves_the_eager_forward(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object) -> None:
        raise RuntimeError("not while capturing\nand much more")

    monkeypatch.setattr(packed_cuda_model, "varlen_attn", varlen)
    monkeypatch.setattr(packed_cuda, "RUN_TOKENS", 256)
    gpu = StandIn("")
    monkeypatch.setattr(gpu, "captured", fail)
    engine = PackedCudaEngine(artifact, gpu, torch.float32)
    engine.warm_up()
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graphs, batches take longer: not while capturing"
    ]
    assert engine.logits(texts(MIXED)).shape == (10, 3)


def test_warm_up_captures_every_size_up_to_the_largest_batch(
    artifact: Artifact, engine: PackedCudaEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packed_cuda_model, "varlen_attn", varlen)
    monkeypatch.setattr(packed_cuda, "RUN_TOKENS", 512)
    flash = PackedCudaEngine(artifact, StandIn(""), torch.float32)
    flash.warm_up()
    assert [shape.tokens for shape in flash._graphs] == [128, 256, 384, 512]
    for batch in (texts(MIXED), texts([5]), texts([64] * 9), texts([1] * 65)):
        assert difference(flash, engine.logits(batch), batch) <= 1e-5
    assert flash.computed_tokens(texts(MIXED)) == 256


def test_a_graph_is_at_most_an_eighth_larger_than_the_next_smaller():
    sizes = list(graph_tokens(RUN_TOKENS))
    assert sizes[0] == 128
    assert sizes[-1] == RUN_TOKENS
    assert all(b - a <= max(128, a / 8) for a, b in pairwise(sizes))


def test_warm_up_without_flash_attention_has_no_graphs(engine: PackedCudaEngine):
    engine.warm_up()
    assert engine.computed_tokens(texts(MIXED)) == sum(MIXED)


@pytest.mark.parametrize("batch", [[[VOCABULARY]], [[-1]], [[5] * 65], [[5], []], [[2**40]]])
def test_what_is_out_of_bounds_never_reaches_the_device(
    engine: PackedCudaEngine, batch: list[list[int]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "_gpu", None)
    with pytest.raises(EngineError, match="token"):
        engine.logits(batch)


@pytest.mark.parametrize(
    ("failure", "error"),
    [(torch.OutOfMemoryError(), OutOfMemory), (RuntimeError("a kernel failed"), EngineError)],
)
def test_a_failure_leaves_the_engine_usable(
    engine: PackedCudaEngine,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    error: type[Exception],
):
    def fail(*_: object) -> None:
        raise failure

    expected = engine.logits(texts(MIXED))
    with monkeypatch.context() as patched:
        patched.setattr(engine, "_model", fail)
        with pytest.raises(error, match=r"10 texts|batch of 10") as raised:
            engine.logits(texts(MIXED))
    assert type(raised.value) is error
    assert (engine.logits(texts(MIXED)) == expected).all()


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_what_a_failed_batch_held_is_free_while_its_halves_run(
    engine: PackedCudaEngine, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
):
    """Whoever splits a batch holds its error, and an error's traceback holds frames."""
    held: list[weakref.ref[torch.Tensor]] = []

    def fail(packed: torch.Tensor, shape: Shape) -> None:
        activations = torch.zeros(shape.tokens, 64)
        held.append(weakref.ref(activations))
        raise kind("too large")

    monkeypatch.setattr(engine, "_model", fail)
    with pytest.raises(EngineError) as raised:
        engine.logits(texts(MIXED))
    assert held[0]() is None
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_no_two_engines_have_one_stream_however_many_were_closed(artifact: Artifact):
    gpu = StandIn()
    first = PackedCudaEngine(artifact, gpu, torch.float32)
    for _ in range(2 * POOL):  # torch's pool is once through after 32
        other = PackedCudaEngine(artifact, gpu, torch.float32)
        assert other._stream.stream_id != first._stream.stream_id
        other.close()
        other.close()  # twice is once


def test_an_engine_that_cannot_be_made_holds_no_stream(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    gpu = StandIn()
    with monkeypatch.context() as patched:
        patched.setattr(packed_cuda, "Albert", fail)
        for _ in range(2 * POOL):
            with pytest.raises(torch.OutOfMemoryError):
                PackedCudaEngine(artifact, gpu, torch.float32)
    PackedCudaEngine(artifact, gpu, torch.float32)


def test_weights_that_do_not_fit_are_named(tmp_path: Path, artifact: Artifact):
    card = artifact.card.model_copy(update={"labels": ("a", "b")})
    with pytest.raises(ModelError, match="3 outputs, its card 2 labels"):
        PackedCudaEngine(Artifact(artifact.path, card, ""), StandIn(), torch.float32)
    with pytest.raises(ModelError, match="The reference engine runs any"):
        PackedCudaEngine(random_model(tmp_path, hidden_act="relu"), StandIn(), torch.float32)


def test_memory_counts_shared_layers_once(tmp_path: Path):
    one, four = (
        PackedCudaEngine(
            random_model(tmp_path / str(n), num_hidden_layers=n), StandIn(), torch.float32
        )
        for n in (1, 4)
    )
    assert one.memory_bytes == four.memory_bytes > 0
    four.close()
