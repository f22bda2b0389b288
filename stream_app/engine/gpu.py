"""A GPU as an engine uses it: streams, pinned memory, events, captured graphs.

Tests replace it with a stand-in and run the engine on CPU tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from stream_app.core.errors import ModelError

log = logging.getLogger(__name__)

POOL = 32  # streams per device that torch hands out in turn: c10's kStreamsPerPool
CAPABILITY = (8, 0)  # Ampere, the first that torch's flash attention runs on


@dataclass(frozen=True, slots=True)
class Graph:
    """A captured forward: reads the engine's fixed input, writes its own logits."""

    replay: Callable[[], None]
    logits: Tensor  # [texts, labels]


class Streams:
    """Streams, each lent to one engine at a time.

    `draw` takes the next of torch's own pool, which starts again at its first stream after its
    last: without this a graph would be captured on a stream that another model serves on.
    """

    def __init__(self, draw: Callable[[], Any]) -> None:
        self._draw = draw
        self._free: list[Any] = []
        self._known: set[int] = set()
        self._lock = Lock()

    def take(self) -> Any:
        """A stream, until it is given back. Raises ModelError if all are lent."""
        with self._lock:
            if self._free:
                return self._free.pop()
            for _ in range(POOL):
                stream = self._draw()
                if stream.stream_id not in self._known:
                    self._known.add(stream.stream_id)
                    return stream
        raise ModelError(
            f"a process serves at most {POOL} models on one GPU: use several processes"
        )

    def give_back(self, stream: Any) -> None:
        """The next engine may take it; work still queued on it runs first."""
        with self._lock:
            self._free.append(stream)


class Gpu:
    """A CUDA device; there is one object per device and process: see `gpu`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.streams = Streams(lambda: torch.cuda.Stream(device))

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        """Make device and stream current, also for new events and pinned memory."""
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            yield

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory for asynchronous copies. torch reuses it only after they have ended."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def sent(self, pinned: Tensor) -> Tensor:
        """An asynchronous copy on the device; do not write to `pinned` before it is made."""
        return pinned.to(self.device, non_blocking=True)

    def event(self) -> Any:
        """An event; a thread that waits for it sleeps and frees its core."""
        return torch.cuda.Event(blocking=True)

    def graph_pool(self) -> Any:
        """A memory pool for graphs that are never replayed at the same time."""
        return torch.cuda.graph_pool_handle()

    def captured(self, forward: Callable[[], Tensor], pool: Any) -> Graph:
        """`forward` as a graph, captured on the current stream.

        `torch.cuda.graph` would wait for the whole device and empty the cache, which stalls other
        models. Raises torch's error if it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool, "thread_local")  # other threads may allocate meanwhile
        try:
            logits = forward()
        except BaseException:
            with suppress(RuntimeError):  # the capture has failed already
                graph.capture_end()
            raise
        graph.capture_end()
        return Graph(graph.replay, logits)

    def why_padded(self, dtype: torch.dtype, head_size: int) -> str:
        """Why flash attention cannot run, or ""."""
        if dtype == torch.float32:
            return "it has no float32"
        if not find_spec("torch.nn.attention.varlen"):
            return f"torch {torch.__version__} has none of variable length"
        if not torch.backends.cuda.is_flash_attention_available():
            return f"torch {torch.__version__} is built without it"
        if torch.cuda.get_device_capability(self.device) < CAPABILITY:
            return f"{torch.cuda.get_device_name(self.device)} is older than Ampere"
        return "" if head_size % 8 == 0 and head_size <= 256 else f"heads of {head_size}"

    def empty_cache(self) -> None:
        """Release cached memory to the driver. A failing device is only logged."""
        try:
            with torch.cuda.device(self.device):
                torch.cuda.empty_cache()
        except RuntimeError as error:
            log.warning(
                "%s does not release its cached memory: %s", self.device, type(error).__name__
            )


@cache
def gpu(index: int) -> Gpu:
    """The one `Gpu` of a device: torch's pool of streams is one per process, too."""
    return Gpu(torch.device("cuda", index))


def cuda_device(name: str) -> torch.device:
    """The device called auto, cuda, cuda:1, …. Raises ModelError, with the reason, without it."""
    device = torch.device("cuda" if name == "auto" else name)
    if device.type != "cuda":
        raise ModelError(f"a CUDA engine does not run on {name!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= found:
        why = why_no_cuda() or f"torch sees {found} GPUs"
        raise ModelError(f'device {name!r} asked for, but {why}; use device = "cpu"')
    return torch.device("cuda", device.index or 0)


def why_no_cuda() -> str:
    """Why torch offers no GPU, or ""."""
    if torch.cuda.is_available():
        return ""
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} cannot use it: check nvidia-smi, and the driver's version"
