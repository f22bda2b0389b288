"""Faults of a dashboard: each label is counted once, and none is missing from the totals.

One runs with the suite, on both brokers; `make test-faults` runs all, with 20,000 labels.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import pytest
from kafka.errors import KafkaError

from tests.dashboard_rig import CHOICES, Stage, made_label
from tests.integration.faults.account import Totals
from tests.integration.faults.brokers import Broker
from tests.integration.faults.kills import broker_killed, process_killed
from tests.integration.faults.scene import FINISH_SECONDS, RUN_SECONDS, until
from tests.integration.faults.table import TABLE

QUICK, WHOLE = 3000, 20_000  # labels
PRODUCTS = 500  # each has as many labels: one that is lost does not hide one that counts twice
CHUNKS = 60


@dataclass
class Scene:
    """Labels that keep coming, every tenth twice as after a worker's crash; a dashboard."""

    stage: Stage
    broker: Broker | None
    count: int
    rest: threading.Event  # lets the last fifth of the labels come
    processes: ExitStack = field(default_factory=ExitStack)
    struck: tuple[float, int] | None = None  # when first, and how many were counted by then
    seconds: float | None = None  # from then to the next label that is counted

    def start(self) -> Popen[bytes]:
        """A dashboard on the same history."""
        return self.processes.enter_context(self.stage.dashboard())

    def counted(self) -> dict[str, int]:
        """Labels by product, as the page is told."""
        query = f"route=reviews&by=product&range=24h&most={PRODUCTS}"
        try:
            with urllib.request.urlopen(f"{self.stage.url}/api/by?{query}", timeout=30) as answer:
                return {row["value"]: row["n"] for row in json.load(answer)["rows"]}
        except OSError:
            return {}

    def reach(self, share: float) -> None:
        """Wait until a share of the labels is counted."""

        def reached() -> bool:
            found = sum(self.counted().values())
            if self.struck and self.seconds is None and found > self.struck[1]:
                self.seconds = time.monotonic() - self.struck[0]
            return found >= share * self.count

        until(reached, FINISH_SECONDS, f"{share:.0%} of the labels")

    def strike(self, action: Callable[[], object]) -> None:
        """Do it in mid-stream: the last labels come in `finish` only."""
        before = sum(self.counted().values())
        assert before < self.count, "all was counted before the fault"
        self.struck = self.struck or (time.monotonic(), before)
        action()

    def finish(self) -> None:
        """Let the rest come, and wait until it is counted."""
        self.rest.set()
        self.reach(1.0)

    def totals(self) -> Totals:
        """The row of the table."""
        found, each = self.counted(), self.count // PRODUCTS
        differences = [found.get(f"product {n}", 0) - each for n in range(PRODUCTS)]
        return Totals(
            sent=self.count,
            labelled=sum(found.values()),
            duplicate=sum(max(0, n) for n in differences),
            lost=sum(max(0, -n) for n in differences),
            seconds=self.seconds,
        )


def dashboard_killed(scene: Scene) -> None:
    """SIGKILL, three times; another one goes on with its history each time."""
    process_killed(scene)


@contextmanager
def scene_on(stage: Stage, count: int, broker: Broker | None) -> Iterator[Scene]:
    """Labels come for six seconds at least."""
    over, rest = threading.Event(), threading.Event()

    def produce() -> None:
        topic = stage.topic("reviews")
        labels = [
            made_label(topic, n, CHOICES[n % 3], f"product {n % PRODUCTS}") for n in range(count)
        ]
        size = count // CHUNKS
        chunks = [labels[first : first + size] for first in range(0, count, size)]
        while chunks and not over.wait(RUN_SECONDS / CHUNKS):
            if len(chunks) <= CHUNKS / 5 and not rest.is_set():
                continue
            with suppress(KafkaError):  # a broker that is away: the same again, as a worker would
                values = [label.model_dump_json().encode() for label in chunks[0]]
                sent = [
                    stage.producer.send(f"{topic}.labels", value)
                    for value in (*values, *values[::10])
                ]
                for delivery in sent:
                    delivery.get(60)
                del chunks[0]

    producing = threading.Thread(target=produce, daemon=True)
    scene = Scene(stage, broker, count, rest)
    with scene.processes:
        producing.start()
        try:
            yield scene
        finally:
            over.set()
            producing.join()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("act", [dashboard_killed, broker_killed], ids=lambda act: act.__name__)
def test_each_label_counts_once(
    act: Callable[[Scene], None], broker_kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    whole, own = request.config.getoption("--all-faults"), act is broker_killed
    if own and not whole:
        pytest.skip("in the whole run only")
    if own and broker_kind == "tansu":
        pytest.skip("the embedded broker keeps nothing on disk")
    count = WHOLE if whole else QUICK
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(broker_kind, tmp_path)) if own else None
        address = broker.address if broker else request.getfixturevalue("broker_address")
        stage = Stage(address, tmp_path)
        stage.create_topics()
        scene = stack.enter_context(scene_on(stage, count, broker))
        try:
            act(scene)
        finally:
            found = scene.totals()
            row = TABLE.add("dashboards", act.__name__, broker_kind, "effectively_once", found)
    assert found.lost == found.duplicate == 0
    assert found.labelled == found.sent == count
    TABLE.passed(row)
