"""The CUDA engine on a real GPU: kernels, captures, streams, memory. See `bench/first_gpu.sh`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from stream_app.core.errors import EngineError, OutOfMemory
from stream_app.engine.gpu import gpu
from stream_app.engine.packed_cuda import RUN_TOKENS, PackedCudaEngine, graph_tokens, load
from stream_app.engine.protocol import scores
from stream_app.engine.reference import ReferenceEngine
from stream_app.model.artifact import Artifact
from tests.stand_in_gpu import StandIn
from tests.unit.test_engines import MIXED, SHAPES, random_model, texts

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

LAST = f"cuda:{torch.cuda.device_count() - 1}"  # another than the current one, where there are two
MANY = 20  # models: torch's pool, at two streams each, would begin anew
DEVICES = sorted({"cuda:0", LAST})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    # a head size that every attention kernel takes
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_labels": 3}
    return random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=3, **sizes)


def difference(engine: PackedCudaEngine, expected: np.ndarray, batch: list[list[int]]) -> float:
    return float(np.abs(engine.logits(batch) - expected).max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("precision", "close"), [("float32", 1e-3), ("float16", 0.05), ("bfloat16", 0.25)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_the_references(
    tmp_path: Path, shape: dict[str, object], precision: str, close: float, device: str
):
    artifact, batch = random_model(tmp_path, **shape), texts(MIXED)
    expected = ReferenceEngine(artifact, "cpu").logits(batch)
    spread = max(1.0, float(np.abs(expected).max()))
    engine = load(artifact, device, precision, 1)
    assert difference(engine, expected, batch) <= close * spread
    engine.close()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["auto", "float16", "bfloat16"])
def test_graphs_are_the_eager_forward(artifact: Artifact, precision: str, device: str):
    eager, graphs = load(artifact, device, precision, 1), load(artifact, device, precision, 1)
    graphs.warm_up()
    assert [shape.tokens for shape in graphs._graphs] == list(graph_tokens(RUN_TOKENS))
    exact = PackedCudaEngine(artifact, StandIn(), torch.float32)
    for lengths in ([5], MIXED, MIXED * 9, [1] * 70, [64] * 400, MIXED):
        batch = texts(lengths)
        expected = eager.logits(batch)
        assert difference(graphs, expected, batch) <= 0.05
        assert difference(exact, expected, batch) <= 0.25
    assert graphs.computed_tokens(texts(MIXED)) == 256
    graphs.close()
    eager.close()


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_two_threads_do_not_meet(artifact: Artifact, device: str):
    engine = load(artifact, device, "auto", 1)
    engine.warm_up()
    batches = [texts([length] * n) for length in (1, 7, 30, 64) for n in (1, 9, 70)]
    alone = [engine.logits(batch) for batch in batches]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            for one, other in zip(threads.map(engine.logits, batches), alone, strict=True):
                assert (one == other).all()
    engine.close()


def test_models_are_captured_beside_one_that_serves(artifact: Artifact):
    """More of them than torch has pairs of streams: nobody's work lands in another's graph."""
    serving = load(artifact, LAST, "auto", 1)
    serving.warm_up()
    batch = texts(MIXED)
    expected = serving.logits(batch)
    others: list[PackedCudaEngine] = []

    def more() -> None:
        for _ in range(MANY):
            others.append(load(artifact, LAST, "auto", 1))
            others[-1].warm_up()

    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(more)
        while not loading.done():
            assert (serving.logits(batch) == expected).all()
        loading.result()
    held = [engine._stream.cuda_stream for engine in (serving, *others)]
    assert len(set(held)) == len(held)
    for other in others:
        assert len(other._graphs) == len(serving._graphs)
        assert difference(other, expected, batch) <= 1e-3
        other.close()
    assert (serving.logits(batch) == expected).all()
    serving.close()


def test_a_batch_that_did_not_fit_leaves_its_memory_to_its_halves(artifact: Artifact):
    engine = load(artifact, "cuda:0", "float16", 1)
    batch = texts([64] * 4000)
    expected = engine.logits(batch)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated(0)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + 2**21) / total, 0)
    try:
        with pytest.raises(OutOfMemory) as raised:
            engine.logits(batch)
        assert torch.cuda.memory_allocated(0) == held, raised.value
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
    assert difference(engine, expected, batch) == 0
    engine.close()


def test_what_float16_cannot_hold_is_an_error(artifact: Artifact, monkeypatch: pytest.MonkeyPatch):
    engine = load(artifact, "cuda:0", "auto", 1)
    with torch.inference_mode():
        engine._model._mapping[1].fill_(65504)
    with pytest.raises(EngineError, match="not one finite number"):
        scores(engine, texts(MIXED))
    engine.close()


def test_closed_engines_give_their_memory_back(artifact: Artifact):
    gpu(0).empty_cache()
    free = []
    for _ in range(4):
        engine = load(artifact, "cuda:0", "auto", 1)
        engine.warm_up()
        engine.close()
        free.append(torch.cuda.mem_get_info(0)[0])
    assert all(later >= earlier - 2**22 for earlier, later in pairwise(free[1:]))
