"""A GPU that is asked for, found, lent in streams, and sick: what needs none to be tested."""

from __future__ import annotations

import re
from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from stream_app.core.errors import EngineSick, ModelError
from stream_app.engine import load_engine, packed_cuda
from stream_app.engine.gpu import POOL, Gpu, Streams
from stream_app.engine.packed_cuda import PackedCudaEngine, load
from stream_app.model.artifact import Artifact
from tests.stand_in_gpu import StandIn
from tests.unit.test_engines import random_model


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=1)


def test_streams_end_with_an_error_not_with_a_shared_one():
    turns = count()
    streams = Streams(lambda: SimpleNamespace(stream_id=next(turns) % POOL))
    held = [streams.take() for _ in range(POOL)]
    assert len({stream.stream_id for stream in held}) == POOL
    with pytest.raises(ModelError, match="at most 32 models on one GPU"):
        streams.take()
    streams.give_back(held[5])
    assert streams.take() is held[5]


@pytest.mark.parametrize(
    ("failure", "error", "says"),
    [
        (torch.OutOfMemoryError("x"), ModelError, "does not fit into what is free on cuda:0"),
        (torch.AcceleratorError("x"), EngineSick, "cuda:0 fails while"),
    ],
)
def test_a_gpu_that_fails_at_a_load_is_told_from_a_model_that_does_not_fit(
    artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    error: type[Exception],
    says: str,
):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(packed_cuda, "cuda_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr(packed_cuda, "PackedCudaEngine", fail)
    with pytest.raises(error, match=says) as raised:
        load(artifact, "cuda", "auto", 1)
    assert type(raised.value) is error


def test_a_sick_gpu_is_no_error_when_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Else whoever closes an engine that failed its canary would blame the model."""

    def fail() -> None:
        raise torch.AcceleratorError("device lost")

    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "empty_cache", fail)
    Gpu(torch.device("cuda", 0)).empty_cache()
    assert "cuda:0 does not release its cached memory: AcceleratorError" in caplog.text


def test_load_names_what_there_is(artifact: Artifact):
    with pytest.raises(ModelError, match="no int8 on CUDA; there are: auto, float32, float16"):
        load(artifact, "auto", "int8", 1)
    with pytest.raises(ModelError, match="does not run on 'cpu'"):
        load(artifact, "cpu", "auto", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_load_without_a_gpu_says_what_to_do(artifact: Artifact, device: str):
    with pytest.raises(ModelError, match='use device = "cpu"'):
        load(artifact, device, "auto", 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("backend", ["auto", "packed", "reference", "compiled"])
def test_a_gpu_that_was_asked_for_and_is_not_there_is_refused(artifact: Artifact, backend: str):
    with pytest.raises(ModelError, match=r"cuda"):
        load_engine(backend, artifact, "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_auto_says_that_a_gpu_goes_unused(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    load_engine("auto", artifact, "auto")
    assert "NVIDIA" not in caplog.text
    monkeypatch.setattr("stream_app.engine.has_nvidia_gpu", lambda: True)
    engine = load_engine("auto", artifact, "auto")
    assert not isinstance(engine, PackedCudaEngine)
    assert re.search("NVIDIA GPU, but torch .* the CPU serves", caplog.text)


def test_padded_attention_serves_where_flash_cannot_and_says_why(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(packed_cuda, "cuda_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr(packed_cuda, "gpu", lambda index: StandIn("older than Ampere"))
    load(artifact, "cuda", "float32", 1)
    assert "no flash attention (older than Ampere)" in caplog.text
    there = Gpu(torch.device("cuda", 0))
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    assert "built without it" in there.why_padded(torch.float16, 64)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "T4")
    for capability, dtype, size, why in (
        ((7, 5), torch.float16, 64, "T4 is older than Ampere"),
        ((9, 0), torch.float32, 64, "no float32"),
        ((9, 0), torch.float16, 6, "heads of 6"),
        ((9, 0), torch.bfloat16, 64, ""),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert why in there.why_padded(dtype, size)
        assert bool(why) == bool(there.why_padded(dtype, size))
