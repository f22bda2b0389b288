"""The padding-free CUDA backend: all tokens of a batch in one matrix, nothing else computed.

- Launching takes longer than computing unless a batch is large, so a batch replays a CUDA graph.
  The rows that fill up a graph's matrix belong to no text. Rows meet only in attention, within
  their text, so the fill changes no logits.
- A batch is one array, copied from pinned memory on the engine's own stream. Its thread sleeps
  once, until the logits are there; meanwhile another thread launches the next batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_app.core.errors import EngineSick, ModelError
from stream_app.engine.failures import failure, release
from stream_app.engine.gpu import Gpu, Graph, cuda_device, gpu
from stream_app.engine.packed_cuda_model import Albert, Shape, lay_out
from stream_app.engine.packing import Packed, pack
from stream_app.engine.protocol import Prior, TokenIds, plus
from stream_app.model.albert import read_shape, read_weights
from stream_app.model.artifact import Artifact

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "float16", "bfloat16")
RUN_TOKENS = 16_384  # a larger batch is several forwards
TOKENS_A_TEXT = 16  # a graph has room for texts as short as that, on average

# a forward: its rows of the logits, its shape, and what `lay_out` wrote
Run = tuple[slice, Shape, Tensor]


def graph_tokens(largest: int) -> Iterator[int]:
    """Tokens of the graphs, ascending, an eighth of a power of two apart: little is filled up."""
    tokens = step = 128
    while tokens <= largest:
        yield tokens
        tokens += max(step, (1 << tokens.bit_length() - 1) // 8)


class PackedCudaEngine:
    """One model on one GPU, its layers in `dtype`."""

    def __init__(self, artifact: Artifact, gpu: Gpu, dtype: torch.dtype) -> None:
        self.labels = artifact.card.labels
        self._span = artifact.card.span
        self.at_once = 2  # one batch is computed, one launched
        self.batch_records = RUN_TOKENS // TOKENS_A_TEXT  # so that tokens close a batch first
        self._gpu, self._launching = gpu, Lock()
        shape, weights = read_shape(artifact), read_weights(artifact)
        self.why_padded = gpu.why_padded(dtype, shape.head_size)
        self._graphs: dict[Shape, Graph] = {}  # smallest first
        self._stream: Any = gpu.streams.take()
        try:
            with gpu.on(self._stream):
                self._model = Albert(shape, weights, gpu.device, dtype, flash=not self.why_padded)
                self._run_tokens = max(RUN_TOKENS, self._model.places)
                room = Shape(self._run_tokens, self._run_tokens, 0).packed
                self._input = torch.empty(room, dtype=torch.int32, device=gpu.device)
        except BaseException:
            gpu.streams.give_back(self._stream)
            raise
        self.memory_bytes, self._places = self._model.memory_bytes, self._model.places
        self._vocabulary = self._model.vocabulary

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Allocate for the largest batch, then capture a graph for each size up to it."""
        self.logits([[0] * self._places] * (self._run_tokens // self._places))
        if self.why_padded:
            return
        try:
            with self._gpu.on(self._stream):
                self._graphs = self._capture()
        except RuntimeError as error:
            log.warning("no CUDA graphs, batches take longer: %s", str(error).split("\n")[0])

    def _capture(self) -> dict[Shape, Graph]:
        graphs, pool = {}, self._gpu.graph_pool()
        # the smaller fit into the largest's memory
        for tokens in sorted(graph_tokens(self._run_tokens), reverse=True):
            shape = Shape(tokens, max(64, tokens // TOKENS_A_TEXT), self._places)
            packed = self._input[: shape.packed].zero_()  # empty texts
            forward = partial(self._model, packed, shape)
            forward()  # libraries allocate at the first call, which cannot be captured
            graphs[shape] = self._gpu.captured(forward, pool)
        return dict(reversed(graphs.items()))

    @torch.inference_mode()
    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> NDArray[np.float32]:
        """float32 `[len(batch), labels]`; see `Engine.logits`."""
        if not batch:
            return np.zeros((0, len(self.labels)), np.float32)
        # out of bounds on the device would end the process
        packed = pack(batch, self._vocabulary, self._places)
        try:
            with self._gpu.on(self._stream):
                return plus(self._logits(packed), prior, batch, self._span)
        except RuntimeError as error:
            failed = failure(error, len(batch))
        raise failed

    def _logits(self, batch: Packed) -> NDArray[np.float32]:
        runs = [self._laid_out(rows, texts) for rows, texts in batch.runs(self._run_tokens)]
        out = self._gpu.pinned((len(batch.lengths), len(self.labels)), torch.float32)
        done = self._gpu.event()
        with self._launching:  # graphs share their input
            for rows, shape, packed in runs:
                out[rows].copy_(self._launch(packed, shape)[: len(out[rows])], non_blocking=True)
            done.record()
        done.synchronize()
        return np.array(out)  # a copy: the pinned memory is reused

    def _laid_out(self, rows: slice, texts: Packed) -> Run:
        shape = self._shape(texts)
        packed = self._gpu.pinned((shape.packed,), torch.int32)
        lay_out(texts, shape, packed.numpy())
        return rows, shape, packed

    def _shape(self, texts: Packed) -> Shape:
        """The smallest graph that holds the texts, or what they need."""
        need = Shape(len(texts.ids), len(texts.lengths), int(texts.lengths.max()))
        fits = (s for s in self._graphs if need.tokens <= s.tokens and need.texts <= s.texts)
        return next(fits, need)

    def _launch(self, packed: Tensor, shape: Shape) -> Tensor:
        """Logits on the device, a row a text or more; the next replay overwrites a graph's."""
        graph = self._graphs.get(shape)
        if graph is None:
            return self._model(self._gpu.sent(packed), shape)
        self._input[: shape.packed].copy_(packed, non_blocking=True)
        graph.replay()
        return graph.logits

    def computed_tokens(self, batch: Sequence[TokenIds]) -> int:
        """The tokens themselves, and what fills the graphs' matrices up."""
        runs = pack(batch, self._vocabulary, self._places).runs(self._run_tokens)
        return sum(self._shape(texts).tokens for _, texts in runs)

    def close(self) -> None:
        """Release graphs, weights, stream and memory. Raises nothing on a sick GPU."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._graphs = {}
        del self._model, self._input
        self._gpu.streams.give_back(stream)
        self._gpu.empty_cache()


def load(artifact: Artifact, device: str, precision: str, threads: int) -> PackedCudaEngine:
    """Load onto a GPU; `auto` is float16. The CPU's `threads` make no difference.

    On real text float16 is 10 to 20 times nearer to float32 than bfloat16 is. Beyond its range the
    logits are not finite, and `scores` refuses them. Raises ModelError if the device is missing or
    too small, or has no such precision, and EngineSick if it fails.
    """
    del threads
    if precision not in ("auto", *PRECISIONS):
        raise ModelError(f"no {precision} on CUDA; there are: auto, {', '.join(PRECISIONS)}")
    chosen = gpu(cuda_device(device).index)
    precision = "float16" if precision == "auto" else precision
    # partial sums of a product stay in float32
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    name = artifact.card.name
    try:
        engine = PackedCudaEngine(artifact, chosen, getattr(torch, precision))
    except torch.OutOfMemoryError as error:
        release(error)
        failed: Exception = ModelError(f"{name} does not fit into what is free on {chosen.device}")
    except torch.AcceleratorError as error:
        release(error)
        why = type(error).__name__
        failed = EngineSick(f"{chosen.device} fails while {name} is loaded ({why}): check the GPU")
    else:
        log.info("%s: packed engine on %s, %s", name, chosen.device, precision)
        if engine.why_padded:
            log.warning("%s: no flash attention (%s): it is slower", name, engine.why_padded)
        return engine
    raise failed
