"""A CPU that the CUDA engine takes for a GPU: the same code but for kernels, waits, captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from stream_app.engine.gpu import POOL, Gpu, Graph, Streams


class StandIn(Gpu):
    """Streams come in turn from a pool like torch's; a graph is its forward, run again."""

    def __init__(self, why_padded: str = "a CPU") -> None:
        self.device = torch.device("cpu")
        turns = count()
        self.streams = Streams(lambda: SimpleNamespace(stream_id=1 + next(turns) % POOL))
        self.padded = why_padded

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        assert stream is not None, "closed"
        yield

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype)

    def sent(self, pinned: Tensor) -> Tensor:
        return pinned.clone()

    def event(self) -> Any:
        return SimpleNamespace(record=lambda: None, synchronize=lambda: None)

    def graph_pool(self) -> Any:
        return None

    def captured(self, forward: Callable[[], Tensor], pool: Any) -> Graph:
        logits = forward()

        def replay() -> None:
            logits.copy_(forward())

        return Graph(replay, logits)

    def why_padded(self, dtype: torch.dtype, head_size: int) -> str:
        return self.padded

    def empty_cache(self) -> None: ...
