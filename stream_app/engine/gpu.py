"""One GPU as an engine sees it: a stream of its own, pinned memory, events, captured graphs.

Tests put a stand-in in its place and run the engine on CPU tensors.
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

POOL = 32  # streams that torch makes for a device, handed out in turn: c10's kStreamsPerPool
CAPABILITY = (8, 0)  # Ampere, the first that torch's flash attention runs on


@dataclass(frozen=True, slots=True)
class Graph:
    """A captured forward: reads the engine's fixed input, writes its own logits."""

    replay: Callable[[], None]
    logits: Tensor  # [texts, labels]


class Streams:
    """Streams that nobody else in this process holds.

    torch's own pool hands the first out again after the last: a graph would be captured on a stream
    that another model serves on. `draw` takes the next from that pool.
    """

    def __init__(self, draw: Callable[[], Any]) -> None:
        self._draw = draw
        self._free: list[Any] = []
        self._known: set[int] = set()
        self._lock = Lock()

    def take(self) -> Any:
        """A stream, until it is given back. Raises ModelError where all are held."""
        with self._lock:
            if self._free:
                return self._free.pop()
            for _ in range(POOL):
                stream = self._draw()
                if stream.stream_id not in self._known:
                    self._known.add(stream.stream_id)
                    return stream
        raise ModelError(f"{POOL} models are on one GPU in this process, and no more can be")

    def give_back(self, stream: Any) -> None:
        """The next to ask may have it: what is still queued on it runs before theirs."""
        with self._lock:
            self._free.append(stream)


class Gpu:
    """A CUDA device. What it lends is of this process: see `gpu`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.streams = Streams(lambda: torch.cuda.Stream(device))

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        """Make the device and the stream current; a new event or pinned memory is theirs."""
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            yield

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory that the device copies from and to by itself.

        torch lends it again only when the copies that were launched on it have ended.
        """
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def sent(self, pinned: Tensor) -> Tensor:
        """A copy on the device, of what nobody changes before it is made."""
        return pinned.to(self.device, non_blocking=True)

    def event(self) -> Any:
        """An event; who waits for it sleeps, and leaves the core to others."""
        return torch.cuda.Event(blocking=True)

    def graph_pool(self) -> Any:
        """Memory that graphs share which are never replayed at one time."""
        return torch.cuda.graph_pool_handle()

    def captured(self, forward: Callable[[], Tensor], pool: Any) -> Graph:
        """`forward` as a graph, captured on the current stream.

        `torch.cuda.graph` would first wait for the whole device and empty the cache, while other
        models serve from both. Raises what torch does where it cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool, "thread_local")  # other threads may allocate meanwhile
        try:
            logits = forward()
        except BaseException:
            with suppress(RuntimeError):  # the capture is spoilt, as we know
                graph.capture_end()
            raise
        graph.capture_end()
        return Graph(graph.replay, logits)

    def why_padded(self, dtype: torch.dtype, head_size: int) -> str:
        """Why flash attention cannot run, "" where it can."""
        if dtype == torch.float32:
            return "it has no float32"
        if not find_spec("torch.nn.attention.varlen"):
            return f"torch {torch.__version__} has it for padded batches only"
        if not torch.backends.cuda.is_flash_attention_available():
            return f"torch {torch.__version__} is built without it"
        if torch.cuda.get_device_capability(self.device) < CAPABILITY:
            return f"{torch.cuda.get_device_name(self.device)} is older than Ampere"
        return "" if head_size % 8 == 0 and head_size <= 256 else f"heads of {head_size}"

    def empty_cache(self) -> None:
        """Let the driver have what is cached. A device that fails says so elsewhere."""
        try:
            with torch.cuda.device(self.device):
                torch.cuda.empty_cache()
        except RuntimeError as error:
            log.warning("%s does not take memory back: %s", self.device, type(error).__name__)


@cache
def gpu(index: int) -> Gpu:
    """The one `Gpu` of a device: torch's pool of streams, too, is one for the whole process."""
    return Gpu(torch.device("cuda", index))


def cuda_device(name: str) -> torch.device:
    """The device that auto, cuda, cuda:1, … says. Raises ModelError with why it is not there."""
    device = torch.device("cuda" if name == "auto" else name)
    if device.type != "cuda":
        raise ModelError(f"a CUDA engine does not run on {name!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= found:
        why = why_no_cuda() or f"torch sees {found} GPUs"
        raise ModelError(f'device {name!r} asked for, but {why}; use device = "cpu"')
    return torch.device("cuda", device.index or 0)


def why_no_cuda() -> str:
    """Why torch has no GPU to offer, "" where it has one."""
    if torch.cuda.is_available():
        return ""
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} cannot use it: check nvidia-smi, and the driver's version"
