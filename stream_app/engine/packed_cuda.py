"""The padding-free CUDA backend: all tokens of a batch in one matrix, nothing else computed.

- A small batch is more launching than computing, so it replays a CUDA graph. The rows that fill a
  graph's matrix up belong to no text: rows meet in attention only, so nobody sees what they hold.
- A batch travels as one array, through pinned buffers used in turn, on a stream of its own. The
  host waits once, for the logits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_app.core.errors import EngineError, ModelError, OutOfMemory
from stream_app.engine.packed_cuda_model import Albert, Shape, lay_out
from stream_app.engine.packing import Ints, Packed, pack
from stream_app.engine.protocol import Prior, TokenIds, plus
from stream_app.model.albert import read_shape, read_weights
from stream_app.model.artifact import Artifact

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "float16", "bfloat16")
RUN_TOKENS = 16_384  # a larger batch is several forwards
# beyond the last of these the launches hide behind the computing
GRAPH_TOKENS = (256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192)


class Staging:
    """Two pinned buffers and their copies on the device, used in turn."""

    def __init__(self, device: torch.device, size: int) -> None:
        self._module: Any = torch.get_device_module(device)
        self._stream = self._module.Stream(device)
        pin = device.type == "cuda"
        slots = [
            (
                torch.empty(size, dtype=torch.int32, pin_memory=pin),
                torch.empty(size, dtype=torch.int32, device=device),
                self._module.Event(),  # the copy has left the host's buffer
                self._module.Event(),  # the forward has read the device's
            )
            for _ in range(2)
        ]
        self._slots = cycle(slots)

    @contextmanager
    def sent(self, batch: Packed, shape: Shape) -> Iterator[Tensor]:
        """The packed batch on the device, for what the body launches on the current stream."""
        host, device, copied, used = next(self._slots)
        copied.synchronize()
        lay_out(batch, shape, host.numpy()[: shape.packed])
        with self._module.stream(self._stream):
            used.wait()
            device[: shape.packed].copy_(host[: shape.packed], non_blocking=True)
            copied.record()
        copied.wait()
        try:
            yield device[: shape.packed]
        finally:
            used.record()


@dataclass(frozen=True, slots=True)
class Graph:
    """A captured forward: reads the engine's fixed input, writes its own logits."""

    replay: Callable[[], None]
    logits: Tensor  # [texts, labels]


class PackedCudaEngine:
    """One model on one GPU, its layers in `dtype`. Tests run the same code on CPU tensors."""

    def __init__(self, artifact: Artifact, device: torch.device, dtype: torch.dtype) -> None:
        self.labels = artifact.card.labels
        self.at_once = 1
        self._device = device
        self._module: Any = torch.get_device_module(device)
        self._stream, self._done = self._module.Stream(device), self._module.Event()
        self._graphs: dict[Shape, Graph] = {}  # smallest first
        with self._module.stream(self._stream):
            self._model = Albert(read_shape(artifact), read_weights(artifact), device, dtype)
        self.memory_bytes, self._places = self._model.memory_bytes, self._model.places
        self._vocabulary = self._model.vocabulary
        self._run_tokens = max(RUN_TOKENS, self._places)
        largest = Shape(self._run_tokens, self._run_tokens, 0).packed
        self._staging = Staging(device, largest)
        self._input = torch.empty(largest, dtype=torch.int32, device=device)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Take the memory of a large batch, then capture a graph for each size of smaller ones."""
        self.logits([[0] * self._places] * max(1, GRAPH_TOKENS[-1] // self._places))
        if not self._model.flash:
            return
        try:
            self._graphs = self._capture()
        except RuntimeError as error:
            log.warning("no CUDA graphs, small batches take longer: %s", str(error).split("\n")[0])

    def _capture(self) -> dict[Shape, Graph]:
        graphs, pool = {}, torch.cuda.graph_pool_handle()
        for tokens in reversed(GRAPH_TOKENS):  # the smaller fit into the largest's memory
            shape = Shape(tokens, max(64, tokens // 32), self._places)
            packed, graph = self._input[: shape.packed], torch.cuda.CUDAGraph()
            with torch.cuda.stream(self._stream):
                packed.zero_()  # empty texts
                self._model(packed, shape)  # what libraries allocate at first is not captured
            with torch.cuda.graph(graph, pool, self._stream, "thread_local"):
                logits = self._model(packed, shape)
            graphs[shape] = Graph(graph.replay, logits)
        return dict(reversed(graphs.items()))

    @torch.inference_mode()
    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """float32 `[len(batch), labels]`; see `Engine.logits`."""
        if not batch:
            return np.zeros((0, len(self.labels)), np.float32)
        # out of bounds on the device would end the process
        packed = pack(batch, self._vocabulary, self._places)
        try:
            with self._module.stream(self._stream):
                return plus(self._logits(packed), prior)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"no memory on {self._device} for {len(batch)} texts") from error
        except RuntimeError as error:
            raise EngineError(f"{type(error).__name__} in a batch of {len(batch)}") from error

    def _logits(self, batch: Packed) -> NDArray[np.float32]:
        pin = self._device.type == "cuda"
        out = torch.empty((len(batch.lengths), len(self.labels)), pin_memory=pin)
        for rows, texts in batch.runs(self._run_tokens):
            shape = self._shape(texts.lengths)
            with self._staging.sent(texts, shape) as packed:
                logits = self._run(packed, shape)
            out[rows].copy_(logits[: len(texts.lengths)], non_blocking=True)
        self._done.record()
        self._done.synchronize()
        return np.array(out)  # what is pinned goes back

    def _shape(self, lengths: Ints) -> Shape:
        """The smallest graph that holds the texts, or what they need."""
        need = Shape(int(lengths.sum()), len(lengths), int(lengths.max()))
        fits = (s for s in self._graphs if need.tokens <= s.tokens and need.texts <= s.texts)
        return next(fits, need)

    def _run(self, packed: Tensor, shape: Shape) -> Tensor:
        if shape not in self._graphs:
            return self._model(packed, shape)
        self._input[: shape.packed].copy_(packed)
        self._graphs[shape].replay()
        return self._graphs[shape].logits

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """The tokens themselves, and what fills the graphs' matrices up."""
        runs = pack(batch, self._vocabulary, self._places).runs(self._run_tokens)
        return sum(self._shape(texts.lengths).tokens for _, texts in runs)

    def close(self) -> None:
        """Drop graphs and weights, and return cached device memory."""
        self._graphs = {}
        del self._model, self._staging, self._input
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def load(artifact: Artifact, device: str, precision: str, threads: int) -> PackedCudaEngine:
    """Load onto a GPU; `auto` is bfloat16 where the GPU has it, else float16.

    The CPU's `threads` make no difference.
    """
    del threads
    if precision not in ("auto", *PRECISIONS):
        raise ModelError(f"no {precision} on CUDA; there are: auto, {', '.join(PRECISIONS)}")
    chosen = _device(device)
    if precision == "auto":
        with torch.cuda.device(chosen):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if native else "float16"
    log.info("%s: packed engine on %s, %s", artifact.card.name, chosen, precision)
    return PackedCudaEngine(artifact, chosen, getattr(torch, precision))


def _device(name: str) -> torch.device:
    device = torch.device("cuda" if name == "auto" else name)
    if device.type != "cuda":
        raise ModelError(f"the packed CUDA engine does not run on {name!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= found:
        raise ModelError(
            f'device {name!r} asked for, but torch sees {found} GPUs; use device = "cpu"'
        )
    return torch.device("cuda", device.index or 0)
