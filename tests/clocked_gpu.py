"""A stand-in GPU whose streams and events are real in order only: it finds races, without a GPU.

Every operation goes, with the stream that is current, to the vector clocks of torch's own CUDA
sanitizer. Each host thread is a stream too: what it launches is ordered behind what it has done,
and what it does behind the events that it has waited for. A use that nothing orders behind the one
before it is a race. Device memory that is freed is written by its stream, where torch's allocator
gives it to the next tensor. Pinned memory is not: torch lends it again only when its copies are
done.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.cuda import _sanitizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stream_app.engine.gpu import Graph
from tests.stand_in_gpu import StandIn

DEFAULT = 0  # the default stream's id
FACTORIES = ("empty", "empty_like", "empty_strided", "new_empty")  # memory that nobody wrote


class Pinned(Tensor):
    """Memory of the host: what asks for `numpy()` writes there, what makes an array of it reads."""

    gpu: ClockedGpu  # of a class that each has for itself

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        self.gpu.host(self, writes=True)
        return self.as_subclass(Tensor).numpy(*args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self.gpu.host(self, writes=False)
        return self.as_subclass(Tensor).numpy()


class Event:
    """A CUDA event, as far as order goes."""

    def __init__(self, gpu: ClockedGpu, number: int) -> None:
        self.gpu, self.number = gpu, number
        gpu.clock._handle_event_creation(number)

    def record(self) -> None:
        self.gpu.clock._handle_event_record(self.number, self.gpu.stream)

    def synchronize(self) -> None:
        self.gpu.waiting()
        self.gpu.clock._handle_event_wait(self.number, self.gpu.thread)


class ClockedGpu(StandIn):
    """Each thread that uses it is in a `Watch`. What went wrong is in `errors`."""

    def __init__(
        self, why_padded: str = "a CPU", waiting: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(why_padded)
        self.errors: list[str] = []
        self.clock = _sanitizer.EventHandler()
        self.waiting = waiting  # called where a thread begins to wait for the device
        self.capturing: dict[int, int] = {}  # stream -> the thread that captures
        self._pinned = type("Own", (Pinned,), {"gpu": self})
        self._local = threading.local()
        self._lock = threading.RLock()
        self._events, self._threads, self._memories = count(1), count(1), count(1)
        self._memory: dict[int, int] = {}  # where it is -> which it is

    @property
    def stream(self) -> int:
        return getattr(self._local, "stream", DEFAULT)

    @property
    def thread(self) -> int:
        if not hasattr(self._local, "thread"):
            self._local.thread = -next(self._threads)  # an ident may be one of a thread that ended
        return int(self._local.thread)

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        before, self._local.stream = self.stream, stream.stream_id
        try:
            yield
        finally:
            self._local.stream = before

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        memory = super().pinned(shape, dtype).as_subclass(self._pinned)
        self.key(memory)
        return memory

    def event(self) -> Event:
        return Event(self, next(self._events))

    def captured(self, forward: Callable[[], Tensor], pool: Any) -> Graph:
        self.capturing[self.stream] = self.thread
        try:
            return super().captured(forward, pool)
        finally:
            del self.capturing[self.stream]

    def host(self, memory: Tensor, writes: bool) -> None:
        """The host's own use of memory."""
        self.use(self.thread, {self.key(memory)}, writes, "numpy")

    def launched(self, name: str, reads: set[int], writes: set[int]) -> None:
        """An operation that this thread launches on the current stream."""
        with self._lock:
            if self.capturing.get(self.stream, self.thread) != self.thread:
                self.errors.append(f"{name} is captured into another's graph")
            launch = next(self._events)
            self.clock._handle_event_record(launch, self.thread)
            self.clock._handle_event_wait(launch, self.stream)
            self.clock._handle_event_deletion(launch)
            self.use(self.stream, reads - writes, False, name)
            self.use(self.stream, writes, True, name)

    def use(self, by: int, memory: set[int], writes: bool, name: str) -> None:
        """A read or a write, and the races it is in."""
        with self._lock:
            read, written = (set(), memory) if writes else (memory, set())
            names: dict[int, list[str]] = {each: [] for each in memory}
            for error in self.clock._handle_kernel_launch(by, read, written, set(), name, names):
                now, before = error.current_access, error.previous_access
                self.errors.append(
                    f"{now.operator} ({now.type.name}) races {before.operator} ({before.type.name})"
                )

    def key(self, tensor: Tensor) -> int:
        """Which memory a tensor lies in."""
        storage = tensor.untyped_storage()
        where = storage.data_ptr()
        with self._lock:
            if where not in self._memory:
                self._memory[where] = next(self._memories)
                stream = None if isinstance(tensor, Pinned) else self.stream
                weakref.finalize(storage, self._freed, where, self._memory[where], stream)
            return self._memory[where]

    def _freed(self, where: int, which: int, stream: int | None) -> None:
        with self._lock:
            if self._memory.get(where) == which:
                del self._memory[where]
                if stream is not None:
                    self.use(stream, {which}, True, "free")


class Watch(TorchDispatchMode):
    """Tells a `ClockedGpu` of every operation of this thread, and of the memory it touches."""

    def __init__(self, gpu: ClockedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, schema = kwargs or {}, func._schema
        out = func(*args, **kwargs)
        if any(a.alias_info and not a.alias_info.is_write for a in schema.arguments):
            return out  # a view
        name = schema.name.split("::")[1]
        reads, writes = set(), set()
        for argument, value in zip(schema.arguments, args, strict=False):
            written = bool(argument.alias_info)
            (writes if written else reads).update(map(self.gpu.key, tensors(value)))
        if name not in FACTORIES:
            writes.update(map(self.gpu.key, tensors(out)))
            self.gpu.launched(name, reads, writes)
        return out


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
