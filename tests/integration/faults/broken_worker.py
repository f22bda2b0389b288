"""`winnow worker` with an engine that fails on order: the real one, with a fault in front of it.

The order is in the file named by FAULT_ORDERS, read before each batch. With {model} in that name
each model has its own. FAULT_PACE is a pause before each batch, in seconds, so that a fault finds
work in flight however fast the machine is. FAULT_TASKS names a file for the number of tasks.
FAULT_REJOINS is how often the worker asks for rebalances, a few at a time.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_app import worker
from stream_app.__main__ import main
from stream_app.core.errors import OutOfMemory
from stream_app.core.settings import Settings
from stream_app.engine.protocol import Prior, TokenIds
from stream_app.model.artifact import Artifact
from stream_app.model.tokenizer import Tokenizer
from stream_app.services.reading import consumer
from stream_app.services.reading.consumer_thread import GuardedThread
from stream_app.serving import served
from stream_app.serving.served import CANARY

FITS = 4  # records that fit the "device" when it is short of memory

real_load_engine, real_run = served.load_engine, worker._run


class Broken:
    """The engine, and what is ordered to happen before it."""

    def __init__(self, engine: Any, artifact: Artifact) -> None:
        self._engine = engine
        orders = os.environ.get("FAULT_ORDERS", os.devnull)
        self._orders = Path(orders.format(model=artifact.card.name))
        [self._canary] = Tokenizer(artifact).encode([CANARY])
        self._pace = float(os.environ.get("FAULT_PACE", 0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def logits(self, batch: Sequence[TokenIds], prior: Prior = None) -> Any:
        match self._orders.read_text().split() if self._orders.is_file() else []:
            case []:
                threading.Event().wait(self._pace)  # libfaketime breaks time.sleep
            case ["slow", seconds]:
                self._orders.unlink()
                time.sleep(float(seconds))
            case ["once"]:
                self._orders.unlink()
                raise RuntimeError("once")
            case ["always"] if list(batch) != [self._canary]:
                raise RuntimeError("always, but for the canary")
            case ["poison", *ids] if [int(number) for number in ids] in map(list, batch):
                raise RuntimeError("poison")
            case ["memory"] if len(batch) > FITS:
                raise OutOfMemory("no memory left")
            case ["sick"]:
                raise RuntimeError("device lost")
            case ["nan"]:
                return np.full_like(self._engine.logits(batch, prior), np.nan)
        return self._engine.logits(batch, prior)


class Restless(GuardedThread):
    """Joins its group again and again, with a broker that is slow to say where reading goes on:
    often a rebalance begins before the last one is over."""

    _dice = random.Random(0)

    async def on_start(self) -> None:
        await super().on_start()
        self._rejoining = asyncio.create_task(self._rejoin())

    async def _rejoin(self) -> None:
        for _ in range(int(os.environ["FAULT_REJOINS"])):
            await asyncio.sleep(0.2)
            for _ in range(self._dice.randrange(1, 6)):
                self._ensure_consumer()._coordinator.request_rejoin()
                await asyncio.sleep(self._dice.random() * 0.05)

    async def _resume(self, first: Any) -> Any:
        await asyncio.sleep(self._dice.random() * 0.05)
        found = await super()._resume(first)
        await asyncio.sleep(self._dice.random() * 0.05)
        return found


def load_engine(name: str, artifact: Artifact, *how: Any) -> Any:
    """The real engine in its wrapping."""
    return Broken(real_load_engine(name, artifact, *how), artifact)


async def _run(settings: Settings) -> None:
    """The worker, its tasks counted."""
    counting = asyncio.create_task(_count_tasks(Path(os.environ["FAULT_TASKS"])))
    await real_run(settings)
    counting.cancel()


def _write(file: Path, text: str) -> None:
    """Whole or not at all: it is read at any moment."""
    whole = file.with_suffix(".new")
    whole.write_text(text)
    whole.replace(file)


async def _count_tasks(file: Path) -> None:
    while True:
        await asyncio.to_thread(_write, file, str(len(asyncio.all_tasks())))
        await asyncio.sleep(1)


if __name__ == "__main__":
    served.load_engine = load_engine
    if "FAULT_TASKS" in os.environ:
        worker._run = _run
    if "FAULT_REJOINS" in os.environ:
        consumer.GuardedThread = Restless  # type: ignore[misc]
    if "FAULT_POLL_INTERVAL" in os.environ:
        consumer.POLL_INTERVAL = float(os.environ["FAULT_POLL_INTERVAL"])
    main()
