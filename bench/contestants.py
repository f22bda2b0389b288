"""What takes part in `engine.py`: a name, a way to get ready, and batches cut from the mix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[Sequence[int]]
Logits = NDArray[np.float32]
Padded = tuple[NDArray[np.int64], NDArray[np.int64]]  # ids and mask, [texts, longest] each
Forward = Callable[[Iterable[Padded]], list[Logits]]
TRIAL_TEXTS = 128


class SkippedError(Exception):
    """This machine cannot run the contestant; the message says why."""


class Runner(Protocol):
    """A contestant, ready."""

    @property
    def batching(self) -> str:
        """How it cuts the mix into batches."""
        ...

    def logits(self, ids: Ids) -> Logits:
        """float32 `[texts, labels]`, in the order of `ids`."""
        ...


@dataclass(frozen=True)
class Contestant:
    """A name for the table, the precision of its products, and how to get it ready."""

    name: str
    precision: str
    build: Callable[[], Runner]


@dataclass(frozen=True)
class Batching:
    """Batches of at most `size` texts; `exact`: only of equally long ones, so without padding."""

    order: Literal["arrival", "sorted", "exact"]
    size: int

    def __str__(self) -> str:
        return "one by one" if self.size == 1 else f"{self.order}, {self.size}"

    def batches(self, ids: Ids) -> list[list[int]]:
        """Indexes of the texts of each batch."""
        indexes = list(range(len(ids)))
        if self.order != "arrival":
            indexes.sort(key=lambda index: len(ids[index]))
        runs = [indexes]
        if self.order == "exact":
            runs = [list(run) for _, run in groupby(indexes, lambda index: len(ids[index]))]
        return [run[at : at + self.size] for run in runs for at in range(0, len(run), self.size)]


ONE_BY_ONE = Batching("arrival", 1)


@dataclass(frozen=True)
class Batched:
    """A forward pass over batches as an engine over texts."""

    forward: Forward
    cut: Batching
    how: str = ""

    @property
    def batching(self) -> str:
        """The cut, and what else was chosen."""
        return f"{self.cut}, {self.how}" if self.how else str(self.cut)

    def logits(self, ids: Ids) -> Logits:
        """float32 `[texts, labels]`, in the order of `ids`."""
        batches = self.cut.batches(ids)
        parts = self.forward(padded([ids[index] for index in batch]) for batch in batches)
        out = np.empty((len(ids), parts[0].shape[1]), np.float32)
        for batch, part in zip(batches, parts, strict=True):
            out[batch] = part
        return out


def padded(texts: Ids) -> Padded:
    """Texts as one matrix, and which of it is theirs."""
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask


def onnx_forward(file: Path, threads: int) -> Forward:
    """ONNX Runtime on the CPU; a graph of two inputs, ids and mask."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def forward(batches: Iterable[Padded]) -> list[Logits]:
        return [session.run(None, dict(zip(names, b, strict=True)))[0] for b in batches]

    return forward


def fastest(candidates: Iterable[Batched], ids: Ids) -> Batched:
    """The best of them on a part of the mix, each shape met before it is timed."""

    def seconds(candidate: Batched) -> float:
        candidate.logits(ids[:TRIAL_TEXTS])
        started = time.perf_counter()
        candidate.logits(ids[:TRIAL_TEXTS])
        return time.perf_counter() - started

    return min(candidates, key=seconds)
