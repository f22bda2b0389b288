"""The CUDA engine's streams, events, memory and graphs, on a clocked stand-in: no use races.

Each guard is also taken away, which must be found.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.cuda import _sanitizer

from stream_app.core.errors import EngineError
from stream_app.engine import packed_cuda, packed_cuda_model
from stream_app.engine.packed_cuda import PackedCudaEngine
from stream_app.model.artifact import Artifact
from tests.clocked_gpu import ClockedGpu, Watch
from tests.unit.test_engines import random_model, texts
from tests.unit.test_packed_cuda import varlen

ONE, OTHER = texts([7, 30, 5]), texts([1, 9, 40, 3])
LONG = texts([60] * 5)  # more than one forward


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cuda, "RUN_TOKENS", 128)
    monkeypatch.setattr(packed_cuda_model, "varlen_attn", varlen)
    no_stacks = SimpleNamespace(extract=lambda *_, **__: [])  # they take most of the time
    monkeypatch.setattr(
        _sanitizer,
        "traceback",
        SimpleNamespace(StackSummary=no_stacks, walk_stack=lambda frame: None),
    )


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=2)


def made(artifact: Artifact, gpu: ClockedGpu) -> PackedCudaEngine:
    with Watch(gpu):
        engine = PackedCudaEngine(artifact, gpu, torch.float32)
        engine.warm_up()
    return engine


def watched(engine: PackedCudaEngine, gpu: ClockedGpu, batch: list[list[int]]) -> np.ndarray:
    with Watch(gpu):
        return engine.logits(batch)


def at_once(
    engine: PackedCudaEngine, gpu: ClockedGpu, batches: Sequence[list[list[int]]]
) -> list[np.ndarray]:
    """The logits of batches that are on the device at one time, each from a thread of its own."""
    met = threading.Barrier(len(batches))
    gpu.waiting = lambda: met.wait(60)  # nobody goes on before all wait for the device

    def score(batch: list[list[int]]) -> np.ndarray:
        try:
            return watched(engine, gpu, batch)
        except BaseException:
            met.abort()  # the others wait in vain
            raise

    with ThreadPoolExecutor(len(batches)) as threads:
        found = list(threads.map(score, batches))
    gpu.waiting = lambda: None
    return found


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "graphs"])
def test_two_batches_at_once_neither_race_nor_meet(artifact: Artifact, graphs: bool):
    gpu = ClockedGpu("" if graphs else "a CPU")
    engine = made(artifact, gpu)
    assert bool(engine._graphs) == graphs
    alone = [watched(engine, gpu, batch) for batch in (ONE, OTHER, LONG)]
    for order in ((0, 1), (1, 2), (2, 0)):
        found = at_once(engine, gpu, [(ONE, OTHER, LONG)[each] for each in order])
        for logits, each in zip(found, order, strict=True):
            assert np.abs(logits - alone[each]).max() <= 1e-5
    engine.close()
    assert gpu.errors == []


def events_not_recorded(gpu: ClockedGpu, engine: PackedCudaEngine) -> None:
    real = gpu.event

    def event() -> Any:
        made = real()
        made.record = lambda: None
        return made

    gpu.event = event


def events_not_waited_for(gpu: ClockedGpu, engine: PackedCudaEngine) -> None:
    real = gpu.event

    def event() -> Any:
        made = real()
        made.synchronize = gpu.waiting
        return made

    gpu.event = event


def pinned_memory_lent_again_at_once(gpu: ClockedGpu, engine: PackedCudaEngine) -> None:
    lent = {dtype: gpu.pinned((4096,), dtype) for dtype in (torch.int32, torch.float32)}

    def pinned(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return lent[dtype][: int(np.prod(shape))].view(*shape)

    gpu.pinned = pinned


def launched_on_the_default_stream(gpu: ClockedGpu, engine: PackedCudaEngine) -> None:
    gpu.on = lambda stream: nullcontext()


@pytest.mark.parametrize(
    ("sabotage", "says"),
    [
        (events_not_recorded, r"numpy \(READ\) races copy_ \(WRITE\)"),
        (events_not_waited_for, r"numpy \(READ\) races copy_ \(WRITE\)"),
        (
            pinned_memory_lent_again_at_once,
            r"numpy \(WRITE\) races (clone|numpy)|clone \(READ\) races numpy",
        ),
        (launched_on_the_default_stream, r"linear \(READ\) races cat \(WRITE\)"),
    ],
)
def test_a_guard_that_is_taken_away_is_missed(
    artifact: Artifact, sabotage: Callable[[ClockedGpu, PackedCudaEngine], None], says: str
):
    gpu = ClockedGpu()
    engine = made(artifact, gpu)
    sabotage(gpu, engine)
    with suppress(EngineError, threading.BrokenBarrierError):  # a mixed batch may be invalid
        at_once(engine, gpu, [ONE, OTHER])
    assert re.search(says, "\n".join(gpu.errors))


def test_batches_that_are_launched_without_the_lock_meet(artifact: Artifact):
    gpu = ClockedGpu("")
    engine = made(artifact, gpu)
    alone = [watched(engine, gpu, batch) for batch in (ONE, OTHER)]
    engine._launching = nullcontext()
    met = threading.Barrier(2)
    for shape, graph in engine._graphs.items():

        def replay(whole: Callable[[], None] = graph.replay) -> None:
            met.wait(60)  # both have copied their batch to the graph's input
            whole()

        engine._graphs[shape] = packed_cuda.Graph(replay, graph.logits)
    found = at_once(engine, gpu, [ONE, OTHER])
    # what a race leaves may be no number at all, which is greater than nothing
    assert not all(np.allclose(a, b, atol=1e-3) for a, b in zip(found, alone, strict=True))


@contextmanager
def serving_meanwhile(gpu: ClockedGpu, engine: PackedCudaEngine) -> Any:
    """Another thread's batch goes through `engine` while a graph is captured."""
    real = gpu.captured
    with ThreadPoolExecutor(1) as thread:

        def captured(forward: Callable[[], torch.Tensor], pool: Any) -> Any:
            def beside() -> torch.Tensor:
                thread.submit(watched, engine, gpu, ONE).result(60)
                return forward()

            return real(beside, pool)

        gpu.captured = captured
        yield


@pytest.mark.parametrize("shared", [False, True])
def test_a_model_is_captured_on_a_stream_of_its_own(artifact: Artifact, shared: bool):
    gpu = ClockedGpu("")
    serving = made(artifact, gpu)
    for _ in range(40):  # further than torch's pool goes
        gpu.streams.give_back(gpu.streams.take())
    if shared:
        gpu.streams.take = lambda: serving._stream
    with serving_meanwhile(gpu, serving):
        made(artifact, gpu)
    polluted = [error for error in gpu.errors if "into another's graph" in error]
    assert bool(polluted) == shared
    assert bool(gpu.errors) == shared
