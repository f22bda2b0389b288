"""A scene for sources: messages that keep coming, a source to strike, an account of its topic."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.faults.account import Totals
from tests.integration.faults.brokers import Broker
from tests.integration.faults.inlets import Inlet
from tests.integration.faults.scene import FINISH_SECONDS, RUN_SECONDS, until
from tests.integration.harness import Stage
from tests.integration.process import Worker
from tests.integration.reading import polled

CHUNKS = 60


@dataclass
class SourceScene:
    """What a fault has to work with."""

    stage: Stage
    inlet: Inlet
    broker: Broker | None
    count: int
    consumer: Any
    processes: ExitStack
    rest: threading.Event  # lets the last fifth of the messages come
    struck: float | None = None
    running: Worker | None = None
    times: Counter[int] = field(default_factory=Counter)  # how often each message arrived
    later: dict[int, float] = field(default_factory=dict)  # first record after the strike

    def start(self) -> Worker:
        """The source, once more."""
        command = ("ingest", *self.inlet.command(self.stage))
        log = self.stage.folder / f"source-{uuid.uuid4().hex[:6]}.log"
        self.running = Worker(self.stage.config, log, {}, command=command)
        self.processes.callback(self.running.kill)
        return self.running

    def reach(self, share: float) -> None:
        """Wait until a share of the messages has arrived."""

        def reached() -> bool:
            assert self.running is not None
            assert not self.running.failed, f"the source ended:\n{self.running.output[-3000:]}"
            self._take()
            return len(self.times) >= share * self.count

        until(reached, FINISH_SECONDS, f"{share:.0%} of the messages")

    def strike(self, action: Callable[[], object]) -> None:
        """Do it in mid-stream."""
        assert len(self.times) < self.count, "all was sent before the fault"
        self.struck = self.struck or time.time()
        action()

    def finish(self) -> None:
        """Wait until all has arrived, and end the source well."""
        assert self.running is not None
        self.rest.set()
        self.reach(1.0)
        assert self.running.stop(90) == 0, self.running.output[-3000:]
        for _ in range(20):  # what it may have sent beyond
            self._take()

    def _take(self) -> None:
        for record in polled(self.consumer, 100):
            self.times[self.inlet.number(record.value)] += 1
            at = record.timestamp / 1000
            if self.struck and at > self.struck:
                self.later.setdefault(record.partition, at)

    def totals(self) -> Totals:
        """The row of the table; call it once all has arrived."""
        return Totals(
            sent=self.count,
            labelled=len(self.times),
            duplicate=self.times.total() - len(self.times),
            lost=len(set(range(self.count)) - self.times.keys()),
            seconds=max(self.later.values()) - self.struck if self.struck and self.later else None,
        )


@contextmanager
def source_scene(
    address: str, folder: Path, inlet: Inlet, count: int, broker: Broker | None
) -> Iterator[SourceScene]:
    """Messages come for six seconds at least, from the moment the scene is set."""
    stage = Stage(address, folder)
    topic = stage.route("messages", inlet.format, "builtin:news")
    stage.create_topics()
    over, rest = threading.Event(), threading.Event()

    def supply() -> None:
        size = -(-count // CHUNKS)
        chunks = [range(first, min(first + size, count)) for first in range(0, count, size)]
        while chunks and not over.wait(RUN_SECONDS / CHUNKS):
            if len(chunks) > CHUNKS / 5 or rest.is_set():
                inlet.put(chunks.pop(0))

    supplying = threading.Thread(target=supply, daemon=True)
    with ExitStack() as processes, stage.reader(topic) as consumer:
        supplying.start()
        try:
            yield SourceScene(stage, inlet, broker, count, consumer, processes, rest)
        finally:
            over.set()
            supplying.join()
