"""Random models through every kernel of a library, which is best built with sanitizers.

`python -m tests.native.fuzz LIBRARY MODELS SEED`; the exit status says whether all went well.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_app.engine.compiled_weights import CompiledWeights
from stream_app.engine.native_library import PRECISIONS, Kernels, find_kernels
from stream_app.engine.packing import Packed
from stream_app.model.exits import Exits
from tests.native.albert import Classifier, random_classifier

# how far a logit may be off, in units of the largest
TOLERANCE = {"float32": 2e-5, "bfloat16": 0.1, "int8": 0.25}
EDGES = [1, 2, 6, 7, 12, 13, 16, 17, 31, 32, 33, 48, 64, 65, 128, 129]
TOKENS = 300  # of a batch, about
NAMES = ("avx2", "avx512", "avx512_bf16", "amx")
TABLES = ("word", "position")
Array = NDArray[np.float32]


def every_kernel(library: Path) -> dict[str, Kernels]:
    """All kernels of a library that was built to emulate what this CPU lacks; none without AVX2."""
    if not find_kernels(library):
        return {}
    loaded = ctypes.CDLL(str(library))
    return {name: Kernels.in_dll(loaded, f"{name}_kernels") for name in NAMES}


def allocated(size: int) -> NDArray[np.uint8]:
    """Exactly `size` bytes, aligned to 64, so that a sanitizer sees an access beyond them."""
    libc, address = ctypes.CDLL(None), ctypes.c_void_p()
    failed = libc.posix_memalign(ctypes.byref(address), ctypes.c_size_t(64), ctypes.c_size_t(size))
    assert not failed
    assert address.value
    memory = (ctypes.c_uint8 * size).from_address(address.value)
    weakref.finalize(memory, libc.free, address)
    return np.frombuffer(memory, np.uint8)


class ExactWeights(CompiledWeights):
    """Every array of a model in an allocation of its own."""

    def _keep(self, array: NDArray[np.generic]) -> int:
        copy = allocated(array.nbytes).view(array.dtype).reshape(array.shape)
        copy[...] = array
        self._arrays.append(copy)
        return copy.ctypes.data


def kernel_logits(weights: CompiledWeights, texts: Packed) -> Array:
    """[texts, labels with padding]."""
    out = np.full((len(texts.lengths), weights.outputs), np.nan, np.float32)
    memory = allocated(weights.workspace(texts))
    memory[...] = 255  # what is not written before it is read becomes NaN
    weights.forward(texts, out, memory.ctypes.data)
    return out


def random_texts(rng: np.random.Generator, vocabulary: int, positions: int) -> Packed:
    """Texts as long as a model takes, many of a length where a loop of the kernels ends."""
    some = rng.integers(1, rng.integers(1, positions + 1), 40, endpoint=True)
    lengths = np.where(rng.random(40) < 0.5, some, rng.choice(EDGES, 40).clip(max=positions))
    count = max(1, int(np.searchsorted(lengths.cumsum(), rng.integers(1, TOKENS))))
    lengths = lengths[:count].astype(np.int32)
    return Packed(rng.integers(0, vocabulary, lengths.sum(), np.int32), lengths)


@dataclass(frozen=True)
class Case:
    """A model, its exits or none, a batch of texts, and their logits [texts, labels] in full."""

    model: Classifier
    exits: Exits | None
    texts: Packed
    expected: NDArray[np.float64]

    def __str__(self) -> str:
        return f"{self.model.shape}, texts of {self.texts.lengths.tolist()} tokens"

    def check(self, kernels: Kernels, precision: str) -> float:
        """How far the logits are off, relative to the largest. Raises AssertionError."""
        weights = ExactWeights(self.model.shape, self.model.weights, kernels, precision)
        if self.exits is not None:
            weights.open_exits(self.exits, temperature=1.0, evidence=3.0)
        together = kernel_logits(weights, self.texts)
        for row, (_, text) in zip(together, self.texts.runs(0), strict=True):
            alone = kernel_logits(weights, text)
            assert alone.tobytes() == row.tobytes(), f"{kernels}: it depends on its neighbours"
        labels = self.expected.shape[1]
        assert not together[:, labels:].any(), f"{kernels}: no such label"
        if self.exits is not None:
            # tests/unit/test_exits.py says which text takes which exit
            return 0.0 if np.isfinite(together).all() else np.inf
        error = np.abs(together[:, :labels] - self.expected).max()
        return float(error / max(1.0, np.abs(self.expected).max()))


def random_case(rng: np.random.Generator) -> Case:
    """See `random_classifier` and `random_texts`."""
    model = random_classifier(rng)
    tables = (model.weights[f"albert.embeddings.{of}_embeddings.weight"] for of in TABLES)
    texts = random_texts(rng, *map(len, tables))
    expected = np.array([model.logits(text.ids) for _, text in texts.runs(0)])
    exits = random_exits(rng, model, expected.shape[1]) if rng.random() < 0.4 else None
    return Case(model, exits, texts, expected)


def random_exits(rng: np.random.Generator, model: Classifier, labels: int) -> Exits:
    """Exits through which some texts leave and others do not."""
    shape = len(model.shape.sequence()) - 1, labels, model.shape.hidden
    weight = rng.standard_normal(shape).astype(np.float32) / np.float32(shape[2] ** 0.5)
    bias = rng.standard_normal(shape[:2]).astype(np.float32)
    return Exits(weight, bias, float(rng.uniform(1 / labels, 1) if labels > 1 else 0.5))


def fuzz(library: Path, models: int, seed: int) -> None:
    """Print how far each kernel's logits were off at most. Raises AssertionError."""
    print(f"seed {seed}", flush=True)
    rng = np.random.default_rng(seed)
    worst: dict[str, float] = {}
    for index in range(models):
        case = random_case(rng)
        print(f"model {index}: {case}", flush=True)  # first: a sanitizer ends the process
        for name, kernels in every_kernel(library).items():
            for precision in filter(kernels.kernel, PRECISIONS):
                kernel = f"{name} {precision}"
                off = case.check(kernels, precision)
                assert off <= TOLERANCE[precision], f"{kernel} is {off} off"
                worst[kernel] = max(worst.get(kernel, 0), off)
    print(*(f"{kernel}: {off:.2g} off at most" for kernel, off in worst.items()), sep="\n")


if __name__ == "__main__":
    fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
