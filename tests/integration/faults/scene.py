"""A scene: a route, its messages, workers to strike, and the account of the results."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from stream_app.pipeline.threads import BATCHES_AT_ONCE
from tests.conftest import free_port
from tests.integration.faults.account import (
    COMMITTED,
    UNCOMMITTED,
    Account,
    Place,
    Result,
    Totals,
)
from tests.integration.faults.brokers import Broker
from tests.integration.harness import Stage
from tests.integration.process import Worker, get

FAST_GROUP = {"session_timeout_seconds": 6.0, "heartbeat_interval_seconds": 1.0}
RUN_SECONDS = 6.0  # a run takes so long at least, shared by the workers
FINISH_SECONDS = 300  # without a result: a harness asserts no time
BATCH = 64  # records, the default
BROKEN = "tests.integration.faults.broken_worker"


@dataclass
class Scene:
    """What a fault has to work with. `messages` are real ones; record number n is messages[n]."""

    stage: Stage
    topic: str
    messages: Sequence[bytes]
    account: Account
    expected: Mapping[int, Result]
    broker: Broker | None
    folder: Path
    cluster: Sequence[Broker] = ()
    sent: dict[Place, int] = field(default_factory=dict)
    struck: float | None = None
    workers: list[Worker] = field(default_factory=list)

    def produce(self, numbers: Sequence[int] | None = None, **config: Any) -> None:
        """Send messages by number, round robin; all where none are named."""
        chosen = range(len(self.messages)) if numbers is None else numbers
        self.put([(number, self.messages[number], b"%d" % number) for number in chosen], **config)

    def put(self, records: Sequence[tuple[int, bytes | None, bytes | None]], **config: Any) -> None:
        """Send (number, value, key), and remember where each came to lie."""
        with self.stage.producer(**config) as producer:
            futures = [
                producer.send(
                    self.topic,
                    value,
                    key,
                    headers=[("number", b"%d" % number)],
                    partition=number % self.stage.partitions,
                )
                for number, value, key in records
            ]
            for (number, _, _), future in zip(records, futures, strict=True):
                meta = future.get(60)
                self.sent[Place(meta.partition, meta.offset)] = number

    def lose(self, cut: Mapping[int, int]) -> None:
        """The broker lost what lies at or above an offset of each partition named."""
        gone = {
            place: number
            for place, number in self.sent.items()
            if place.offset >= cut.get(place.partition, place.offset + 1)
        }
        self.sent = {place: n for place, n in self.sent.items() if place not in gone}
        self.account.lose(set(gone.values()))

    def forget(self) -> None:
        """All so far is over: what becomes of it from here on counts for nothing."""
        gone, self.sent = set(self.sent.values()), {}
        self.account.lose(gone)

    def start(
        self,
        ready: bool = True,
        module: str = BROKEN,
        inside: Sequence[str] = (),
        **environment: str,
    ) -> Worker:
        """A new worker; `ready` waits until it consumes. `inside`: a command that runs it."""
        log = self.folder / f"worker-{uuid.uuid4().hex[:6]}.log"
        own = {
            "WINNOW_METRICS__PORT": str(free_port()),
            "FAULT_PACE": self.pace(RUN_SECONDS),
            "FAULT_ORDERS": str(log.with_suffix(".{model}.orders")),
        }
        worker = Worker(self.stage.config, log, own | environment, module, inside=inside)
        self.workers.append(worker)
        if ready:
            worker.wait_for_log("consuming", 120)
        return worker

    def pace(self, seconds: float) -> str:
        """The pause before each batch with which one worker takes so long at least."""
        return f"{seconds * BATCHES_AT_ONCE * BATCH / len(self.messages):.4f}"

    def done(self, share: float) -> int:
        """So many results, as a share of the messages."""
        return int(len(self.messages) * share)

    def reach(self, share: float, seconds: float = FINISH_SECONDS) -> None:
        """Wait until a share of the messages has come out."""
        self.wait(lambda: len(self.account.places) >= self.done(share), seconds)

    def wait(self, reached: Callable[[], bool], seconds: float = FINISH_SECONDS) -> None:
        """Wait for something about the account; a worker that fails meanwhile fails the test."""
        if not self.account.wait(reached, seconds, self._check):
            words = "\n".join(worker.output[-1500:] for worker in self.workers)
            missing = sorted(self.sent.keys() - self.account.places)
            raise AssertionError(
                f"{len(self.account.places)} results, {len(missing)} are missing, first of all "
                f"{missing[:3]}; workers said:\n{words}"
            )

    def _check(self) -> None:
        for worker in self.workers:
            assert not worker.failed, f"a worker failed:\n{worker.output[-3000:]}"

    @property
    def complete(self) -> bool:
        """Whether everything that was sent has come out."""
        return self.sent.keys() <= self.account.places

    def strike(self, action: Callable[[], object], *workers: Worker) -> None:
        """Do it while work is in flight on these workers, and provably so."""
        for worker in workers:
            deadline = time.monotonic() + 60
            while gauge(worker, "winnow_in_flight_records") == 0:
                assert time.monotonic() < deadline, "nothing in flight: the fault would not count"
                time.sleep(0.02)  # HTTP offers no event to await
        assert len(self.account.places) < len(self.sent), "all is done: the fault would not count"
        if self.struck is None:
            self.struck = time.time()
        action()

    def finish(self, *workers: Worker, committed: bool = True) -> None:
        """Wait until all has come out and is committed, then end these workers well."""
        self.wait(lambda: self.complete)
        if committed:
            until(self._all_committed, FINISH_SECONDS, "all labelled, but not all committed")
        for worker in workers:
            worker.wait_for_log("metrics and health")  # it heeds signals from here on
            code = worker.stop(90)
            assert code == 0, f"exit code {code}:\n{worker.output[-3000:]}"

    def _all_committed(self) -> bool:
        self._check()
        try:
            found = self.stage.committed(self.topic)
        except KafkaError:
            return False  # a broker that came back just now
        return all(place.offset < found.get(place.partition, 0) for place in self.sent)

    def totals(self) -> Totals:
        """The row of the table; call it once all has come out."""
        return self.account.totals(self.sent, self.expected, self.struck)


@contextmanager
def scene_on(
    address: str,
    folder: Path,
    route: Mapping[str, Any],
    messages: Sequence[bytes],
    expected: Mapping[int, Result],
    broker: Broker | None,
    partitions: int = 4,
    knows_ends: bool = True,
    cluster: Sequence[Broker] = (),
) -> Iterator[Scene]:
    """A scene with its topics made and its account open; its workers are killed at the end."""
    stage = Stage(address, folder, partitions, replicas=len(cluster) or 1)
    stage.sections["kafka"] = dict(FAST_GROUP)
    # a budget of its own: a worker that starts must not time batches that are slowed down
    topic = stage.route("mail", pass_fields=["number"], max_batch_tokens=4096, **route)
    stage.create_topics()
    once = route.get("delivery") == "effectively_once"
    isolation = COMMITTED if once else UNCOMMITTED
    how = partitions, isolation, knows_ends, bool(cluster)
    with Account(address, topic, stage.group, *how) as account:
        scene = Scene(stage, topic, messages, account, expected, broker, folder, cluster)
        try:
            yield scene
        finally:
            for worker in scene.workers:
                worker.kill()


def order(worker: Worker, what: str, model: str = "model") -> None:
    """Tell the engine of a worker that consumes what to do next (broken_worker.py)."""
    worker.wait_for_log("consuming", 120)
    worker.log.with_suffix(f".{model}.orders").write_text(what)


def gauge(worker: Worker, name: str) -> float:
    """The sum of a metric over its labels; 0 where the worker does not answer."""
    _, text = get(f"http://127.0.0.1:{worker.port}/metrics")
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def health(worker: Worker, probe: str) -> int:
    """The status of /healthz or /readyz."""
    return get(f"http://127.0.0.1:{worker.port}/{probe}")[0]


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll what offers no event to await."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


def configure(scene: Scene, topic: str, values: Mapping[str, str]) -> None:
    """Change settings of a topic."""
    admin = KafkaAdminClient(bootstrap_servers=scene.stage.address)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(values))])
    finally:
        admin.close()
