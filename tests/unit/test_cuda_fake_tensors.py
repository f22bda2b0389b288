"""The CUDA forward on fake tensors that say they are on cuda:0 or cuda:1. It needs no GPU.

A fake tensor has a shape, a dtype and a device, and no values. So a tensor on the wrong device, a
wait for the device, and a shape that depends on values show, whatever torch was built with.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stream_app.engine import packed_cuda_model
from stream_app.engine.packed_cuda_model import Albert, Shape, Texts, flash_attention
from stream_app.model.albert import AlbertShape, Weights, read_shape, read_weights
from tests.unit.test_engines import random_model

LABELS = 3
SHAPES = (Shape(384, 24, 64), Shape(37, 5, 13))  # a graph's, and what a batch needs
WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "_assert_async")
PRODUCTS = ("linear", "addmm", "mm", "_addmm_activation", "_varlen_attn")  # of one dtype each
GUARDS = "_ZN3c104impl26device_guard_impl_registryE"  # c10::impl::device_guard_impl_registry
CUDA, META = 1, 14  # c10::DeviceType

Model = tuple[AlbertShape, Weights[Any]]


@pytest.fixture(scope="module", autouse=True)
def device_guard() -> Iterator[None]:
    """Where torch is built without CUDA, lend CUDA the device guard of Meta, which does nothing."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    table = (ctypes.c_void_p * (META + 1)).in_dll(library, GUARDS)
    before = table[CUDA]
    table[CUDA] = before or table[META]
    yield
    table[CUDA] = before


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_labels": LABELS}
    artifact = random_model(tmp_path_factory.mktemp("model"), num_hidden_layers=2, **sizes)
    return read_shape(artifact), read_weights(artifact)


class Watch(TorchDispatchMode):
    """Notes what an operation does that a forward must not."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.seen: list[str] = []
        self.wrong: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        self.seen.append(name)
        if name in WAITS:
            self.wrong.append(f"{name} waits for the device")
        floats = {
            t.dtype for t in tree_leaves(args) if isinstance(t, Tensor) and t.is_floating_point()
        }
        if name in PRODUCTS and len(floats) > 1:
            self.wrong.append(f"{name} of {floats}")
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, Tensor) and tensor.device != self.device:
                self.wrong.append(f"{name} on {tensor.device}")
        return out


def forward(
    model: Model, device: str, dtype: torch.dtype, flash: bool, shape: Shape, plant: Any = None
) -> Watch:
    """One forward; what torch refuses is raised, and the rest is noted."""
    on = torch.device(device)
    with FakeTensorMode(), torch.inference_mode():
        albert = Albert(*model, on, dtype, flash)
        if plant is not None:
            plant(albert)
        packed = torch.empty(shape.packed, dtype=torch.int32, device=on)
        with Watch(on) as watch:
            logits = albert(packed, shape)
    assert logits.shape == (shape.texts, LABELS)
    assert logits.dtype == torch.float32
    return watch


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("flash", [True, False], ids=["flash", "padded"])
def test_a_forward_stays_on_its_device_and_never_waits(
    model: Model, device: str, dtype: torch.dtype, flash: bool
):
    if flash and dtype == torch.float32:
        pytest.skip("flash attention has no float32")
    for shape in SHAPES:
        watch = forward(model, device, dtype, flash, shape)
        assert watch.wrong == []
        assert ("_varlen_attn" in watch.seen) == flash
        assert ("bucketize" in watch.seen) == (not flash)


def bounds_on_the_host(albert: Albert) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, texts: Texts, one: bool) -> Tensor:
        if one:
            bounds = torch.arange(len(texts.bounds), dtype=torch.int32)
            return packed_cuda_model.varlen_attn(q, k, v, bounds, texts.bounds, 1, texts.longest)
        return flash_attention(q, k, v, texts, one)

    albert._layers[-1]._attention = attention


def longest_read_from_the_device(albert: Albert) -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, texts: Texts, one: bool) -> Tensor:
        longest = int(texts.bounds.diff().max())
        return flash_attention(q, k, v, Texts(texts.places, texts.bounds, longest), one)

    albert._layers[0]._attention = attention


def cls_rows_by_a_mask(albert: Albert) -> None:
    layer = albert._layers[-1]

    def first_tokens(x: Tensor, texts: Texts) -> Tensor:
        return layer._feed_forward(x[texts.places == 0], x[texts.places == 0])

    layer.first_tokens = first_tokens


def places_left_on_the_host(albert: Albert) -> None:
    albert._places = albert._places.cpu()


def weights_on_the_other_gpu(albert: Albert) -> None:
    albert._classifier = tuple(weight.to("cuda:0") for weight in albert._classifier)


def embeddings_not_rounded(albert: Albert) -> None:
    albert._mapping = tuple(weight.float() for weight in albert._mapping)


def number_of_texts_from_the_device(albert: Albert) -> None:
    whole = albert._layers[-1].first_tokens
    albert._layers[-1].first_tokens = lambda x, texts: whole(x[: texts.bounds[-1]], texts)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (bounds_on_the_host, "arange on cpu"),
        (longest_read_from_the_device, "_local_scalar_dense"),
        (cls_rows_by_a_mask, "nonzero"),
        (places_left_on_the_host, "cpu and cuda:1"),
        (weights_on_the_other_gpu, "cuda:1 and cuda:0"),
        (embeddings_not_rounded, "linear of"),
        (number_of_texts_from_the_device, "_local_scalar_dense"),
    ],
)
def test_a_planted_fault_is_caught(model: Model, plant: Callable[[Albert], None], says: str):
    found: list[str] = []
    try:
        found += forward(model, "cuda:1", torch.float16, True, SHAPES[0], plant).wrong
    except Exception as error:  # whatever fake tensors refuse it with
        found.append(f"{type(error).__name__}: {error}")
    assert re.search(says, "; ".join(found)), found
