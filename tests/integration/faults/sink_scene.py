"""A scene for sinks: labels that keep coming, sinks to strike, and an account of what arrived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from tests.integration.faults.account import Totals
from tests.integration.faults.brokers import Broker
from tests.integration.faults.commits import group_offsets
from tests.integration.faults.scene import FAST_GROUP, FINISH_SECONDS, RUN_SECONDS, until
from tests.integration.harness import Stage
from tests.integration.process import Worker
from tests.integration.sinks import numbered, send_labels, sink
from tests.postgres import Postgres
from tests.receiver import Receiver, secret_file

CHUNKS = 60


class Target(Protocol):
    """Where labels are to arrive."""

    name: str
    delivery: str  # of the table in docs/reliability.md
    share: float  # of the labels: a request each is dear

    def command(self, stage: Stage) -> Sequence[str]:
        """Of the sink, after `winnow sink`."""

    def arrived(self) -> dict[str, str]:
        """The labels that are there, by the id of their record."""

    def repeats(self) -> int:
        """How many more than once."""

    def after(self, struck: float) -> float:
        """When the slowest partition went on after a moment."""


@dataclass
class Table:
    """A table of a PostgreSQL of its own."""

    server: Postgres
    name = "postgres"
    delivery = "effectively_once"
    share = 1.0

    def command(self, stage: Stage) -> Sequence[str]:
        return ("postgres", "--url", self.server.url())

    def arrived(self) -> dict[str, str]:
        try:
            return dict(self.server.run("SELECT id, label FROM labels"))
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return {}  # it is down, or not made yet

    def repeats(self) -> int:
        [[count]] = self.server.run("SELECT count(*) - count(DISTINCT id) FROM labels")
        return int(count)

    def after(self, struck: float) -> float:
        first = f"SELECT min(written_at) w FROM labels WHERE written_at > to_timestamp({struck})"
        found = self.server.run(
            f"SELECT extract(epoch FROM max(w)) FROM ({first} GROUP BY source_partition) f"
        )
        return float(found[0][0])


@dataclass
class Hook:
    """A receiver of webhooks."""

    receiver: Receiver
    name = "webhook"
    delivery = "at_least_once"
    share = 0.25

    def command(self, stage: Stage) -> Sequence[str]:
        secret = secret_file(stage.folder)
        return ("webhook", "--url", self.receiver.url, "--secret-file", secret)

    def arrived(self) -> dict[str, str]:
        return dict(self.receiver.labels)

    def repeats(self) -> int:
        return self.receiver.taken.total() - len(self.receiver.taken)

    def after(self, struck: float) -> float:
        first: dict[str, float] = {}
        for label_id, when in dict(self.receiver.when).items():
            partition = label_id.split("/")[1]
            if when > struck:
                first[partition] = min(when, first.get(partition, when))
        return max(first.values())


@dataclass
class SinkScene:
    """What a fault has to work with."""

    stage: Stage
    topic: str
    target: Target
    broker: Broker | None
    count: int
    processes: ExitStack
    rest: threading.Event  # lets the last fifth of the labels come
    struck: float | None = None
    sinks: list[Worker] = field(default_factory=list)

    def start(self) -> Worker:
        """One more sink."""
        running = self.processes.enter_context(sink(self.stage, *self.target.command(self.stage)))
        self.sinks.append(running)
        return running

    def reach(self, share: float) -> None:
        """Wait until a share of the labels has arrived."""

        def reached() -> bool:
            for running in self.sinks:
                assert not running.failed, f"a sink ended:\n{running.output[-3000:]}"
            return len(self.target.arrived()) >= share * self.count

        until(reached, FINISH_SECONDS, f"{share:.0%} of the labels")

    def strike(self, action: Callable[[], object]) -> None:
        """Do it in mid-stream: the last labels come in `finish` only."""
        self.struck = self.struck or time.time()
        action()

    def finish(self) -> None:
        """Wait until all has arrived and is committed, then end the sinks well."""
        self.rest.set()
        self.reach(1.0)
        until(self._committed, FINISH_SECONDS, "all arrived, but not all committed")
        for running in self.sinks:
            if running.process.poll() is None:
                assert running.stop(90) == 0, running.output[-3000:]

    def _committed(self) -> bool:
        admin = KafkaAdminClient(bootstrap_servers=self.stage.address)
        try:
            group = f"{self.stage.group}-sink-{self.target.name}"
            offsets = group_offsets(admin, group, f"{self.topic}.labels")
        except KafkaError:
            return False
        finally:
            admin.close()
        return sum(offsets.values()) >= self.count

    def totals(self) -> Totals:
        """The row of the table; call it once all has arrived."""
        arrived = self.target.arrived()
        sent = {
            label.id: label.label for label in numbered(self.stage, self.topic, range(self.count))
        }
        return Totals(
            sent=len(sent),
            labelled=len(arrived),
            duplicate=self.target.repeats(),
            lost=len(sent.keys() - arrived.keys()),
            mislabelled=sum(arrived[key] != label for key, label in sent.items() if key in arrived),
            seconds=None if self.struck is None else self.target.after(self.struck) - self.struck,
        )


@contextmanager
def sink_scene(
    address: str, folder: Path, target: Target, count: int, broker: Broker | None
) -> Iterator[SinkScene]:
    """Labels come for six seconds at least, from the moment the scene is set."""
    stage = Stage(address, folder)
    stage.sections["kafka"] = dict(FAST_GROUP)
    stage.sections["webhook"] = {"dead_letter_topic": f"{stage.name}.dead"}
    topic = stage.route("mail", "text", "builtin:spam")
    stage.create_topics()
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(f"{stage.name}.dead", 1, 1)])
    admin.close()
    over, rest = threading.Event(), threading.Event()

    def produce() -> None:
        size = count // CHUNKS
        labels = numbered(stage, topic, range(count))
        chunks = [labels[first : first + size] for first in range(0, count, size)]
        while chunks and not over.wait(RUN_SECONDS / CHUNKS):
            if len(chunks) <= CHUNKS / 5 and not rest.is_set():
                continue
            with suppress(KafkaError):  # a broker that is away: the same again, as a worker would
                send_labels(stage, topic, chunks[0])
                del chunks[0]

    producing = threading.Thread(target=produce, daemon=True)
    with ExitStack() as processes:
        producing.start()
        try:
            yield SinkScene(stage, topic, target, broker, count, processes, rest)
        finally:
            over.set()
            producing.join()
